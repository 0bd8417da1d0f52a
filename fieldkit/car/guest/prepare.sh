#!/bin/sh
# Makes a fresh Debian root the virtual car's. Runs inside that root, while it is built; the
# files of this folder and the wheels are in /opt/car.
set -eu
cd /opt/car
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

echo 'car: unpacking the kernel...'
# Unpacked, not installed: the package's scripts would make an initramfs of their own. The newest of
# the release, but for those that are known to be bad.
for kernel_package in $(apt-cache pkgnames linux-image-6.1.0- | grep -E -- '-[0-9]+-amd64$' | sort -rV); do
  version=$(apt-cache show "$kernel_package" | sed -n 's/^Version: //p;T;q')
  grep -qxF "$version" known-bad-kernels || break
done
(cd /tmp && apt-get -qq download "$kernel_package" 2>/dev/null)
# Without drivers of hardware that no virtual machine has: they are most of the package.
dpkg-deb --fsys-tarfile /tmp/linux-image-*.deb | tar -x -C / --keep-directory-symlink --anchored --wildcards \
  --exclude='./usr' \
  --exclude='./lib/modules/*/kernel/sound' \
  --exclude='./lib/modules/*/kernel/drivers/gpu' \
  --exclude='./lib/modules/*/kernel/drivers/iio' \
  --exclude='./lib/modules/*/kernel/drivers/infiniband' \
  --exclude='./lib/modules/*/kernel/drivers/media' \
  --exclude='./lib/modules/*/kernel/drivers/net/ethernet' \
  --exclude='./lib/modules/*/kernel/drivers/net/wireless/*/*' \
  --exclude='./lib/modules/*/kernel/drivers/scsi' \
  --exclude='./lib/modules/*/kernel/drivers/staging'
rm /tmp/linux-image-*.deb
version=$(basename /lib/modules/*)
depmod "$version"
mv "/boot/vmlinuz-$version" /boot/vmlinuz

echo 'car: installing Python packages...'
python3 -m venv /opt/venv
/opt/venv/bin/pip --disable-pip-version-check --quiet \
  install --no-compile --no-index --no-deps --find-links wheels --requirement wheels/requirements.txt
# By hash, for the times of files change when the root is packed.
/opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
# The work tree is shared with the guest, not installed in it.
echo /opt/cigarjack > "$(echo /opt/venv/lib/python3*/site-packages)/cigarjack.pth"

echo 'car: arranging the start...'
systemd-machine-id-setup >/dev/null
echo car > /etc/hostname
printf '127.0.0.1 localhost\n127.0.1.1 car\n' > /etc/hosts
passwd --quiet --delete root
install -D -m 755 job /usr/local/lib/car/job
install -m 644 car.service /etc/systemd/system/car.service
install -D -m 644 profile.sh /etc/profile.d/car.sh
install -m 644 fstab /etc/fstab
mkdir -p /car /opt/cigarjack /srv/tree /var/lib/tree/upper /var/lib/tree/work
systemctl --quiet enable car.service
# Nobody logs in on the consoles, nothing needs the clock of another, and services of radios are
# started by the jobs, when there are radios. Of the devices that are there from the start only
# the shares and the port of the job matter: to look at all takes seconds, emulated.
printf '%s\n' virtio_console 9pnet_virtio 9p overlay > /etc/modules-load.d/car.conf
systemctl --quiet mask getty.target getty@.service serial-getty@.service systemd-timesyncd.service \
  systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-pstore.service \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  e2scrub_reap.service fstrim.timer systemd-journal-flush.service systemd-udev-trigger.service \
  systemd-logind.service systemd-sysusers.service systemd-random-seed.service \
  systemd-tmpfiles-clean.timer dev-hugepages.mount dev-mqueue.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount modprobe@configfs.service modprobe@dm_mod.service \
  modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service
systemctl --quiet disable bluetooth.service hostapd.service NetworkManager.service \
  NetworkManager-wait-online.service wpa_supplicant.service 2>/dev/null || :

echo 'car: making the initramfs...'
mkdir -p initramfs/bin initramfs/modules initramfs/proc initramfs/sys initramfs/dev initramfs/root
cp /bin/busybox initramfs/bin/
install -m 755 initramfs-init initramfs/init
for module in virtio_pci virtio_blk ext4 9pnet_virtio; do
  modprobe -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r file; do
  cp "$file" initramfs/modules/
  basename "$file"
done > initramfs/order
(cd initramfs && find . | cpio --quiet -o -H newc | gzip -1) > /boot/initramfs

cd /
rm -rf /opt/car /usr/share/doc /usr/share/man /usr/share/locale /var/cache/apt/*.bin
