"""Disks in a Ceph that hosts share: RBD images, worked by Ceph's own programs, which find cluster and key in /etc/ceph."""
