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

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Builds the wall around all threads of the process.
pub(super) fn restrict() -> Result<(), String> {
    let unknown = filter(UNKNOWN.iter().map(|call| (*call, Vec::new())).collect(), libc::ENOSYS);
    let forbidden = conditions().and_then(|conditions| {
        let always = FORBIDDEN.iter().chain(FORBIDDEN_HERE).map(|call| (*call, Vec::new()));
        filter(always.chain(conditions).collect(), libc::EPERM)
    });
    for program in [unknown, forbidden] {
        let program = program.map_err(|error| error.to_string())?;
        apply_filter_all_threads(&program).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Calls that are forbidden when one of their rules applies.
fn conditions() -> Result<Rules, BackendError> {
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
    for request in [PUSH_INPUT, CONSOLE] {
        forbid(libc::SYS_ioctl, 1, is(request))?;
    }
    // Even where there is no Landlock, no file is made by a name or without one, and none emptied when it is opened.
    let nameless = libc::O_TMPFILE & !libc::O_DIRECTORY;
    for change in [libc::O_CREAT, libc::O_TRUNC, nameless] {
        forbid(libc::SYS_openat, 2, bits(change))?;
        #[cfg(target_arch = "x86_64")]
        forbid(libc::SYS_open, 1, bits(change))?;
    }
    Ok(rules)
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
