#!/bin/sh
# Installs the real programs that the end-to-end tests and benches drive. Quick when all are present.
#
# As root on Debian: packages of the machine's own release through apt, and oras and cosign from a
# newer release, unpacked into a cache folder (never installed). Anywhere else it only says what is
# missing; the tests that need a missing program are then skipped with that reason.
#
# Prints one line per step on stderr. Exit code 0: everything is there. 3: something is missing.
set -eu

PACKAGES="containerd runc skopeo podman buildah umoci busybox-static containernetworking-plugins
iproute2 iptables docker.io docker-registry util-linux openssl nginx-light
ceph-mon ceph-osd radosgw postgresql procps strace tinyproxy"
# These are not in Debian 12; this release has builds that run on its libc.
NEWER_SUITE=trixie
NEWER_PACKAGES="oras cosign"
CACHE=${FLOTILLA_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flotilla-test}
POLICY=/usr/sbin/policy-rc.d

say() { printf 'install: %s\n' "$*" >&2; }

installed() {
  state=$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) || return 1
  [ "$state" = installed ]
}

# Packages such as containerd start a service when installed. The tests start their own, so
# services stay off unless the machine already has a policy.
forbid_services() {
  [ -e "$POLICY" ] && return 0
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
  trap 'rm -f "$POLICY"' EXIT
  trap 'exit 130' INT TERM
}

install_packages() {
  missing=
  for package in $PACKAGES; do
    installed "$package" || missing="$missing $package"
  done
  [ -z "$missing" ] && return 0
  say "installing$missing"
  forbid_services
  export DEBIAN_FRONTEND=noninteractive
  # One broken third-party source must not stop the tests; the install below tells.
  apt-get update -qq >&2 || say 'apt-get update reported an error, going on'
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >"$CACHE/apt.log" 2>&1 || {
    tail -n 20 "$CACHE/apt.log" >&2
    return 1
  }
}

# The archive this machine already uses, from either format of its sources.
archive_uri() {
  for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources; do
    [ -r "$file" ] || continue
    awk '/^URIs:/ && !/security/ { print $2; exit }' "$file"
  done | head -n 1
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -r "$file" ] || continue
    sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*debian[^ ]*\) .*/\2/p' "$file" | grep -v security
  done | head -n 1
}

install_newer() {
  missing=
  for package in $NEWER_PACKAGES; do
    [ -x "$CACHE/$package/usr/bin/$package" ] && continue
    command -v "$package" >/dev/null 2>&1 || missing="$missing $package"
  done
  [ -z "$missing" ] && return 0
  uri=$(archive_uri | head -n 1)
  if [ -z "$uri" ]; then
    say "no Debian archive found in the apt sources, so these cannot be fetched:$missing"
    return 1
  fi
  say "unpacking of $NEWER_SUITE into $CACHE:$missing"
  apt_dir=$CACHE/apt
  mkdir -p "$apt_dir/lists/partial" "$apt_dir/cache/archives/partial"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
    "$uri" "$NEWER_SUITE" >"$apt_dir/sources.list"
  set -- -qq -o "Dir::Etc::sourcelist=$apt_dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o "Dir::State::Lists=$apt_dir/lists" -o "Dir::Cache=$apt_dir/cache" -o APT::Sandbox::User=root
  apt-get "$@" update >&2 || return 1
  for package in $missing; do
    rm -rf "$CACHE/debs" && mkdir -p "$CACHE/debs"
    (cd "$CACHE/debs" && apt-get "$@" download "$package/$NEWER_SUITE") >&2 || return 1
    rm -rf "$CACHE/$package.new" && mkdir -p "$CACHE/$package.new"
    dpkg-deb -x "$CACHE/debs/${package}_"*.deb "$CACHE/$package.new"
    rm -rf "${CACHE:?}/$package" && mv "$CACHE/$package.new" "$CACHE/$package"
  done
  rm -rf "$apt_dir" "$CACHE/debs"
}

main() {
  if ! command -v apt-get >/dev/null 2>&1 || [ ! -r /etc/debian_version ]; then
    say 'this is not Debian: the tests with real programs run only where those are installed'
    return 3
  fi
  if [ "$(id -u)" != 0 ]; then
    say 'not root: the tests with network namespaces and containerd need root'
    return 3
  fi
  mkdir -p "$CACHE"
  status=0
  install_packages || { say 'the Debian packages could not be installed'; status=3; }
  install_newer || { say 'programs of a newer release could not be unpacked'; status=3; }
  return $status
}

main "$@"
