# Boots the distribution's systemd in namespaces of its own, on a copy of this machine's root that forgets
# everything: `unshare -m --propagation private sh boot.sh outside WORK FOLDER…`. WORK is an empty folder; each
# FOLDER is there at its own place, whatever disk it is on, and everybody can reach it. Exit code 77: the kernel
# would not.
set -eu

# From outside: a cgroup of our own, removed at the end, and the namespaces.
outside() {
    work=$1
    mount -t tmpfs -o mode=755 tmpfs "$work" || exit 77
    mkdir "$work/groups" "$work/upper" "$work/spare" "$work/root"
    mount -t cgroup2 none "$work/groups" || exit 77
    group=$work/groups/musicfs-test-$$
    mkdir "$group" || exit 77
    echo $$ >"$group/cgroup.procs"
    setpriv --pdeathsig KILL unshare -C -p -f -u -i -m --kill-child sh "$0" inside "$@" && code=0 || code=$?
    echo $$ >"$work/groups/cgroup.procs"
    find "$group" -depth -type d -exec rmdir {} \;
    exit "$code"
}

# From inside: the root, its devices, and no unit but those that a test brings.
inside() {
    work=$1 root=$1/root
    shift
    mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/spare" "$root" || exit 77
    mount -t proc proc "$root/proc" || exit 77
    mount -t sysfs sysfs "$root/sys" || exit 77
    mount -t cgroup2 none "$root/sys/fs/cgroup" || exit 77
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    devices "$root/dev"
    for each; do
        place=$each
        if [ "$(stat -c %d "$each")" != "$(stat -c %d /)" ]; then
            mkdir -p "$root$each"
            mount --rbind "$each" "$root$each"
            place=${each%/*} # what is bound is the real folder, whose mode is left alone
        fi
        while [ -n "$place" ]; do
            chmod a+rx "$root$place"
            place=${place%/*}
        done
    done
    units=$root/etc/systemd/system
    rm -rf "$units"
    mkdir -p "$units"
    : >"$root/etc/machine-id"
    # The clone may lie in /tmp, which Debian's tmpfiles empty at a boot.
    mkdir -p "$root/etc/tmpfiles.d"
    : >"$root/etc/tmpfiles.d/tmp.conf"
    # What a service needs before it is there from the start; nothing of this machine is started.
    printf '[Unit]\nDefaultDependencies=no\n' | tee "$units/sysinit.target" >"$units/basic.target"
    printf '[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\n' >"$units/studio.target"
    cd "$root"
    mkdir old
    pivot_root . old || exit 77
    umount -l /old
    mount --make-rshared / # else a credential's folder is empty
    # As a container's: it leaves this kernel's settings alone.
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        /lib/systemd/systemd --system --unit=studio.target
}

devices() {
    mount -t tmpfs -o mode=755 tmpfs "$1"
    mkdir "$1/pts" "$1/shm"
    for each in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0' 'fuse 10 229'; do
        # shellcheck disable=SC2086  # a name and two numbers
        set -- "$1" $each
        mknod -m 666 "$1/$2" c "$3" "$4" || exit 77
    done
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$1/pts"
    ln -s pts/ptmx "$1/ptmx"
}

"$@"
