//! The wall around files: what can be opened, and for what. Landlock keeps it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, RestrictSelfAttr, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::SandboxOptions;

/// The newest rights that this was tested with. An older kernel keeps those that it knows; seccomp forbids the rest.
const NEWEST: ABI = ABI::V7;

/// What libraries read while they are loaded and while they find out what machine they run on.
const SYSTEM: [&str; 19] = [
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/sys",
    "/proc/self",
    "/proc/sys",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/version",
    "/proc/filesystems",
    "/proc/devices",
    "/proc/modules",
    "/proc/driver",
    "/dev/urandom",
    "/dev/random",
];

/// Builds the wall around the calling thread and all that it starts.
pub(super) fn restrict(options: &SandboxOptions) -> Result<(), String> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let status = rules(options).map_err(|error| error.to_string())?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err("this kernel does not have it, or it is switched off".to_owned());
    }
    if threads > 1 && !status.all_threads {
        return Err(format!("{} threads are older than it", threads - 1));
    }
    Ok(())
}

fn rules(options: &SandboxOptions) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::ReadFile | AccessFs::WriteFile;
    let device: BitFlags<AccessFs> = write | AccessFs::ReadDir | AccessFs::IoctlDev;
    let mut readable: BTreeSet<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    readable.extend(loaded_libraries());
    readable.extend(with_targets(&options.models));
    let has_gpu = !options.gpu.is_empty();
    readable.extend(has_gpu.then(kernel_cache).flatten());
    // The driver gives its threads names, and does not start where it cannot.
    let own_threads = has_gpu.then_some("/proc/self/task");
    let name: BitFlags<AccessFs> = write | AccessFs::Truncate;
    Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        // Handled and allowed nowhere: no port can be bound and none connected to.
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(["/dev/null", "/dev/zero"], write))?
        .add_rules(path_beneath_rules(&options.gpu, device))?
        .add_rules(path_beneath_rules(own_threads, name))?
        .all_threads(true)?
        .restrict_self()
}

/// The program, the folders of the libraries that it is linked with, and those where it looks for others.
fn loaded_libraries() -> BTreeSet<PathBuf> {
    let program = std::env::current_exe().ok();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mapped = maps.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    // Of the program's own folder, which may be anybody's, the program alone.
    let libraries = mapped.filter(|path| Some(*path) != program.as_deref());
    let mut folders: BTreeSet<PathBuf> =
        libraries.filter_map(|path| Some(path.parent()?.to_owned())).collect();
    if let Some(searched) = std::env::var_os("LD_LIBRARY_PATH") {
        folders.extend(std::env::split_paths(&searched));
    }
    // The root would be everything, and an empty name of a path to search is the working directory.
    folders.retain(|folder| folder.parent().is_some());
    folders.extend(program);
    folders
}

/// Folders within a model's folder that its files lie in: `codecs/NAME/FILE`.
const FOLDERS_DEEP: usize = 3;

/// A directory of models, and what the links in it and in its folders lead to.
fn with_targets(models: &Path) -> BTreeSet<PathBuf> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut all = entries(models);
    let mut level = all.clone();
    for _ in 0..FOLDERS_DEEP {
        level = level.iter().flat_map(|folder| entries(folder)).collect();
        all.extend(level.iter().cloned());
    }
    let links = all.into_iter().filter(|path| path.is_symlink());
    let mut targets: BTreeSet<PathBuf> =
        links.filter_map(|link| std::fs::canonicalize(link).ok()).collect();
    targets.insert(models.to_owned());
    targets
}

/// What the driver made of kernels earlier. It is not written: a process behind the walls must not leave code to others.
fn kernel_cache() -> Option<PathBuf> {
    let named = std::env::var_os("CUDA_CACHE_PATH").map(PathBuf::from);
    named.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".nv")))
}
