//! How much memory this process may have: the machine's, or less where a container or a service manager bounds it.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// What is assumed where the system does not tell.
const UNKNOWN_BYTES: u64 = 8 << 30;

/// Where Linux shows control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// Half of the memory that this process may have, in bytes, as it was when first asked for: every collection asks.
pub(super) fn half_of_memory() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(read_half)
}

fn read_half() -> u64 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let of_machine = total_bytes(&read("/proc/meminfo")).unwrap_or(UNKNOWN_BYTES);
    let of_group = group_bytes(Path::new(GROUPS), &read("/proc/self/cgroup"));
    of_group.map_or(of_machine, |bytes| bytes.min(of_machine)) / 2
}

/// The machine's memory, as `/proc/meminfo` tells it.
fn total_bytes(told: &str) -> Option<u64> {
    let kib =
        |line: &str| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok();
    told.lines().find_map(kib).map(|kib: u64| kib.saturating_mul(1024))
}

/// The smallest bound of the control groups that a process is in, of both versions; `told` is its `/proc/self/cgroup`. Each
/// group is bounded by those above it. A process in a container may see its own group as the root.
fn group_bytes(root: &Path, told: &str) -> Option<u64> {
    let bounds = told.lines().flat_map(|line| {
        let fields: Vec<&str> = line.splitn(3, ':').collect();
        let [_, controllers, path] = fields[..] else { return Vec::new() };
        let (tree, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let own = tree.join(path.trim_start_matches('/'));
        let above = own.ancestors().take_while(|folder| folder.starts_with(&tree));
        let bound = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        above.filter_map(bound).collect::<Vec<u64>>()
    });
    bounds.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_its_memory() {
        assert_eq!(total_bytes("MemTotal:       2048 kB\nMemFree:  1 kB\n"), Some(2 << 20));
        assert_eq!(total_bytes("MemFree: 1 kB\n"), None);
        assert!(half_of_memory() > 0);
    }

    #[test]
    fn the_smallest_bound_of_the_groups_above_counts() {
        let root = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        let bound = |told: &str| group_bytes(root.path(), told);
        assert_eq!(bound("0::/\n"), None, "the root of the machine has no bound");
        put("system.slice/sky.service/memory.max", "max\n");
        assert_eq!(bound("0::/system.slice/sky.service\n"), None);
        put("system.slice/memory.max", "3000\n");
        assert_eq!(bound("0::/system.slice/sky.service\n"), Some(3_000));
        put("system.slice/sky.service/memory.max", "2000\n");
        assert_eq!(bound("0::/system.slice/sky.service\n"), Some(2_000));
        put("memory/docker/1/memory.limit_in_bytes", "1000\n");
        assert_eq!(bound("5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n"), Some(1_000));
        // The path is that of the host, and only the root is seen.
        put("memory.max", "4000\n");
        assert_eq!(bound("0::/elsewhere/inner\n"), Some(4_000));
        assert_eq!(bound("nonsense\n"), None);
    }
}
