# Runs "$@" with a /dev of its own that has no kvm; call it in a private mount namespace.
# libvirt offers KVM wherever /dev/kvm can be opened, and then hangs with it where it does not work. Covering the node
# by another file is not enough: libvirt copies it into each guest's own /dev.
set -eu
dev=$(mktemp -d /run/cumulet-dev.XXXXXX)
mount -t tmpfs -o mode=755,nosuid cumulet-dev "$dev"
for node in /dev/*; do
  case $node in
    /dev/kvm) ;;
    /dev/pts | /dev/shm | /dev/mqueue | /dev/hugepages)
      mkdir "$dev/${node#/dev/}"
      mount --rbind "$node" "$dev/${node#/dev/}" ;;
    *) cp -a "$node" "$dev/" ;;
  esac
done
umount -l /dev
mount --move "$dev" /dev
rmdir "$dev"
cd /
exec "$@"
