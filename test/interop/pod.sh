#!/bin/sh
# Runs a program as a container would: its own mounts and process numbers, a read-only root, a user without
# capabilities. Volumes are mounted as the kubelet does.
#
# usage, as root: unshare --mount --pid --fork sh pod.sh ROOT APP CONFIG SECRETS UID GID [NAME=VALUE…] PROGRAM…
set -eu
root=$1 app=$2 config=$3 secrets=$4 uid=$5 gid=$6
shift 6

mount -t tmpfs -o mode=755 pod "$root"
read_only() {
  mkdir -p "$root$2"
  mount --rbind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
}

# In place of the base image.
for folder in /usr /bin /sbin /lib /lib64; do
  if [ -L "$folder" ]; then cp -a "$folder" "$root/"; elif [ -d "$folder" ]; then read_only "$folder" "$folder"; fi
done
mkdir -p "$root/etc" "$root/proc" "$root/dev" "$root/data" "$root/tmp"
echo 'node:x:1000:1000::/home/node:/bin/sh' >"$root/etc/passwd"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"

read_only "$app" /app
read_only "$config" /etc/runwatch
read_only "$secrets" /run/secrets/runwatch
# An emptyDir is for every user, and fsGroup adds a group to it.
for folder in data tmp; do
  mount -t tmpfs -o "mode=2777,gid=$gid,size=64m" empty "$root/$folder"
done
mount -o remount,ro "$root"

program=$(command -v chroot || echo /usr/sbin/chroot)
# The runtime sets HOME to / for a user that /etc/passwd does not have.
exec env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/ "$program" "$root" \
  setpriv --reuid "$uid" --regid "$gid" --groups "$gid" --no-new-privs --bounding-set -all --inh-caps -all \
  sh -c 'cd /app && exec env "$@"' sh "$@"
