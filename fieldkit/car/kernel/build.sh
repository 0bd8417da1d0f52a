#!/bin/bash
# Compiles the release's own kernel source for user mode. Runs inside a fresh Debian root, with the
# files of this folder in /opt/kernel; leaves the kernel and its modules in /out.
set -euo pipefail
cd /opt/kernel
export LC_ALL=C.UTF-8 KBUILD_BUILD_USER=car KBUILD_BUILD_HOST=car KBUILD_BUILD_TIMESTAMP='Thu Jan 1 00:00:00 UTC 1970'

echo 'car: downloading the source of the kernel...'
for version in $(apt-cache madison linux-source-6.1 | awk '{print $3}'); do
  grep -qxF "$version" known-bad-kernels || break
done
apt-get -qq download "linux-source-6.1=$version" 2>/dev/null

echo 'car: unpacking the source of the kernel...'
# Of drivers that no car has only the menus are read.
dpkg-deb --fsys-tarfile linux-source-6.1_*.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz |
  tar -xJ --strip-components=1 --one-top-level=source --wildcards \
    --exclude='*/Documentation/*/*' --exclude='*/tools/testing' --exclude='*/sound/*.[ch]' \
    --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/scsi/*.[ch]' \
    --exclude='*/drivers/infiniband/*.[ch]' --exclude='*/drivers/staging/*.[ch]' \
    --exclude='*/drivers/net/ethernet/*.[ch]'
rm linux-source-6.1_*.deb
cd source

echo 'car: configuring the kernel...'
make -s ARCH=um KCONFIG_ALLCONFIG=../config allnoconfig
# Some of what was asked for may have been renamed, or want something else first.
sed -n 's/^\(CONFIG_[A-Z0-9_]*=\)[ym"].*/\1/p' ../config | sort > ../asked
sed -n 's/^\(CONFIG_[A-Z0-9_]*=\).*/\1/p' .config | sort > ../got
if refused=$(comm -23 ../asked ../got) && [ -n "$refused" ]; then
  echo "the kernel refuses $refused"
  exit 1
fi

echo 'car: compiling the kernel...'
make ARCH=um -j"$(nproc)" linux modules 2>&1 | awk '
  /^  CC / {if (++files % 50 == 0) {print "car: compiling the kernel " files " files so far..."; fflush()}}
  !/^  [A-Z]/'
mkdir -p /out
strip -o /out/linux linux
make -s ARCH=um INSTALL_MOD_PATH=/out INSTALL_MOD_STRIP=1 modules_install
mv /out/lib/modules /out/modules
rm -f /out/modules/*/build /out/modules/*/source
cd /
rm -rf /opt/kernel
