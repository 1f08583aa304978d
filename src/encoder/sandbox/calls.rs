//! The wall around calls of the system: a list of those that a network never needs. Seccomp keeps it.
//!
//! A list of what is forbidden, for what libtorch and the driver of a GPU need differs between their versions. Nothing on
//! it ends the process: it fails as a call without permission, or as one that the kernel does not know where the C library
//! then takes another way that can be looked into.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

/// Bit in the number of a call that is made by the conventions of x32, which would be another name for the same call.
const X32: i64 = 0x4000_0000;

/// Numbers that x32 has for itself.
const X32_OWN: std::ops::RangeInclusive<i64> = 512..=547;

/// Pushes characters into the terminal's input, as if its user had typed them.
const PUSH_INPUT: u64 = 0x5412;

/// Does that and more on a console.
const CONSOLE: u64 = 0x541C;

/// Forbidden whatever their arguments are.
const FORBIDDEN: &[i64] = &[
    // New connections; those that come to the bound address are accepted.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    // Programs. Processes are forbidden below, threads are not.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // Rings do calls that no list sees.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Names, contents and attributes of files; Landlock does not know attributes.
    libc::SYS_truncate,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    // What is mounted where, and other ways to files than by their names.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Who the process is and what it sees.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_personality,
    // Parts of the kernel in which faults are found often, and that a network does not need.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_shmget,
    libc::SYS_shmat,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
];

/// The same under the names that only this architecture has.
#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_creat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_unlink,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_rename,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[i64] = &[];

/// Calls whose arguments lie in memory, where a filter cannot look: unknown, so that the older ones are made instead.
const UNKNOWN: [i64; 2] = [libc::SYS_clone3, libc::SYS_openat2];

/// Calls that find nothing where a GPU's driver is to start: it makes sure that the name of its socket is free, and gives up
/// when it is told anything else than that no such file is there.
const ABSENT: [i64; 1] = [libc::SYS_unlinkat];
#[cfg(target_arch = "x86_64")]
const ABSENT_HERE: [i64; 1] = [libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const ABSENT_HERE: [i64; 0] = [];

/// Calls that make the socket on which the driver of a GPU hands its memory to debuggers; it does not start without one.
const OF_SOCKETS: [i64; 3] = [libc::SYS_socket, libc::SYS_bind, libc::SYS_listen];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Builds the wall around all threads of the process; `has_gpu` where a driver is to start behind it.
pub(super) fn restrict(has_gpu: bool) -> Result<(), String> {
    let all = |calls: &[i64]| calls.iter().map(|call| (*call, Vec::new())).collect::<Rules>();
    let absent = if has_gpu { [&ABSENT[..], &ABSENT_HERE[..]].concat() } else { Vec::new() };
    let forbidden = conditions(has_gpu).and_then(|conditions| {
        let mut always = all(&[FORBIDDEN, FORBIDDEN_HERE].concat());
        always.retain(|call, _| !absent.contains(call));
        always.retain(|call, _| !(has_gpu && OF_SOCKETS.contains(call)));
        always.extend(conditions);
        filter(always, libc::EPERM)
    });
    let mut programs = vec![filter(all(&UNKNOWN), libc::ENOSYS), forbidden];
    if has_gpu {
        programs.push(filter(all(&absent), libc::ENOENT));
    }
    for program in programs {
        let program = program.map_err(|error| error.to_string())?;
        apply_filter_all_threads(&program).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Calls that are forbidden when one of their rules applies.
fn conditions(has_gpu: bool) -> Result<Rules, BackendError> {
    let own = u64::from(std::process::id());
    let bits = |bits: i32| (SeccompCmpOp::MaskedEq(bits as u64), bits as u64);
    let none_of = |bits: i32| (SeccompCmpOp::MaskedEq(bits as u64), 0);
    let not = |value: u64| (SeccompCmpOp::Ne, value);
    let is = |value: u64| (SeccompCmpOp::Eq, value);
    let mut rules = Rules::new();
    let mut forbid = |call: i64, argument: u8, (operator, value): (SeccompCmpOp, u64)| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
        rules.entry(call).or_default().push(SeccompRule::new(vec![condition])?);
        Ok::<(), BackendError>(())
    };
    // A thread, never a process.
    forbid(libc::SYS_clone, 0, none_of(libc::CLONE_THREAD))?;
    // Signals to itself alone.
    forbid(libc::SYS_kill, 0, not(own))?;
    forbid(libc::SYS_tgkill, 0, not(own))?;
    // Its own limits alone.
    forbid(libc::SYS_prlimit64, 0, not(0))?;
    // A pair of connected local streams, which the runtime wants: datagrams could be sent elsewhere by name.
    forbid(libc::SYS_socketpair, 0, not(libc::AF_UNIX as u64))?;
    forbid(libc::SYS_socketpair, 1, none_of(libc::SOCK_STREAM))?;
    for other_kind in [2, 4, 8] {
        forbid(libc::SYS_socketpair, 1, bits(other_kind))?;
    }
    if has_gpu {
        // Local packets in sequence alone, which go nowhere without `connect`.
        forbid(libc::SYS_socket, 0, not(libc::AF_UNIX as u64))?;
        for bit in [1, 2, 4, 8] {
            let other = !(libc::SOCK_SEQPACKET as u64) & bit;
            forbid(libc::SYS_socket, 1, (SeccompCmpOp::MaskedEq(bit), other))?;
        }
    }
    for request in [PUSH_INPUT, CONSOLE] {
        forbid(libc::SYS_ioctl, 1, is(request))?;
    }
    // Even where there is no Landlock, no file is made by a name or without one, and none emptied when it is opened.
    let nameless = libc::O_TMPFILE & !libc::O_DIRECTORY;
    let changes = [libc::O_CREAT, libc::O_TRUNC, nameless];
    // So the C library opens a file to write it anew, and a driver the name of its thread: then Landlock alone keeps others.
    let anew = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
    let spared = has_gpu.then_some([anew, anew | libc::O_CLOEXEC]).into_iter().flatten();
    let spared: Vec<i32> = spared.collect();
    for change in changes {
        forbid_opening(&mut rules, (libc::SYS_openat, 2), change, &spared)?;
        #[cfg(target_arch = "x86_64")]
        forbid_opening(&mut rules, (libc::SYS_open, 1), change, &spared)?;
    }
    Ok(rules)
}

/// Forbids to open with these bits among the flags, unless the flags are just one of those that are spared.
fn forbid_opening(
    rules: &mut Rules,
    (call, argument): (i64, u8),
    bits: i32,
    spared: &[i32],
) -> Result<(), BackendError> {
    let flags = |operator: SeccompCmpOp, value: i32| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value as u64)
    };
    let mut conditions = vec![flags(SeccompCmpOp::MaskedEq(bits as u64), bits)?];
    for value in spared {
        conditions.push(flags(SeccompCmpOp::Ne, *value)?);
    }
    rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
    Ok(())
}

fn filter(mut rules: Rules, code: i32) -> Result<BpfProgram, BackendError> {
    if cfg!(target_arch = "x86_64") {
        let doubles: Vec<i64> =
            rules.keys().copied().chain(X32_OWN).map(|call| call | X32).collect();
        rules.extend(doubles.into_iter().map(|call| (call, Vec::new())));
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let refuse = SeccompAction::Errno(code.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()
}
