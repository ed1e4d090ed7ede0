#!/bin/sh
# Made by sidustree touch --install-hook. apt and dpkg run this in a tree that is
# changed while nodes run it.
#
# Before they change anything, the files that will be replaced or removed get a
# second name in /@ASIDE@, so that nodes that have them open can go on
# reading them. Afterwards the stamp is renewed, by which nodes learn that the
# tree has changed, and what was set aside long enough ago is removed.
#
# SIDUSBOOT_ASIDE=no in the environment: nothing is set aside.
set -eu
umask 022
export LC_ALL=C

keep=@KEEP@ # minutes
aside=/@ASIDE@
stamp=/@STAMP@

fail() {
	echo "sidusboot: $*" >&2
	exit 1
}

# A node that runs the tree has its own copy of what it changes.
if [ -d /run/sidusboot ] || [ "${SIDUSBOOT_ASIDE-}" = no ]; then
	case ${1-} in
	apt) exec cat >/dev/null ;;
	esac
	[ ! -d /run/sidusboot ] || exit 0
fi

# installed PACKAGE ARCHITECTURE: the files of a package that is there.
installed() {
	dpkg-query -L "$1:$2" 2>/dev/null || dpkg-query -L "$1" 2>/dev/null || :
}

# incoming FILE: the files that a .deb brings.
incoming() {
	dpkg-deb --info "$1" >/dev/null || fail "$1 cannot be read"
	dpkg-deb --fsys-tarfile "$1" | tar -t --quoting-style=literal
}

# by_apt: the files of apt's list on standard input (apt.conf(5), version 3).
by_apt() {
	read -r line || line=
	[ "$line" = 'VERSION 3' ] || fail "apt's list has an unknown format, '$line': run sidustree touch --install-hook again"
	while read -r line && [ -n "$line" ]; do :; done
	while read -r name old arch _ _ _ _ _ file; do
		[ "$old" = - ] || installed "$name" "$arch"
		case $file in
		'**'*) ;;
		*) incoming "$file" ;;
		esac
	done
}

# arguments: those of the dpkg that runs this, one a line.
arguments() {
	pid=$PPID
	for _ in 1 2 3; do
		[ -r "/proc/$pid/cmdline" ] || return 0
		words=$(tr '\0' '\n' <"/proc/$pid/cmdline")
		case $words in
		dpkg | dpkg'
'* | */dpkg | */dpkg'
'*)
			printf '%s\n' "$words"
			return 0
			;;
		esac
		pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status")
	done
}

# by_dpkg: the files that dpkg's own arguments are about.
by_dpkg() {
	arguments | while read -r word; do
		case $word in
		-*) continue ;;
		esac
		if [ -d "$word" ]; then
			find "$word" -name '*.deb' # --recursive
		else
			printf '%s\n' "$word"
		fi
	done | while read -r word; do
		case $DPKG_HOOK_ACTION in
		remove | purge)
			installed "${word%%:*}" "${word#*:}"
			;;
		*)
			if [ -f "$word" ]; then
				installed "$(dpkg-deb --field "$word" Package)" "$(dpkg-deb --field "$word" Architecture)"
				incoming "$word"
			fi
			;;
		esac
	done
}

# set_aside COMMAND: gives the files that the command names a second name.
set_aside() {
	[ ! -L $aside ] || fail "$aside is a link: remove it"
	[ -d $aside ] || mkdir $aside
	# In there are programs with setuid bits and known faults.
	chmod 700 $aside
	# What a hook has left that was killed. Nothing was changed after it.
	for set in "$aside"/until-*; do
		[ ! -f "$set/.names" ] || rm -rf --one-file-system "$set"
		rmdir "$set" 2>/dev/null || :
	done
	# Process numbers can be alike in the same second: containers have their own.
	end=$(date -u -d "+$keep minutes" +%Y%m%d-%H%M%S) n=$$
	while [ -e "$aside/until-$end-$n" ]; do n=$((n + 1)); done
	set=$aside/until-$end-$n
	mkdir "$set"
	trap 'rm -rf "$set"' EXIT
	"$1" >"$set/.names"
	# The lists name the files of a diversion by another name, behind "to: ". What is
	# no package's is changed by the scripts of packages.
	{
		sed 's,^.*diver.* to: /,/,' "$set/.names"
		printf '%s\n' etc/ld.so.cache etc/passwd etc/group etc/shadow etc/gshadow
	} | sed 's,^\./,,; s,^/*,,' | sort -u | while IFS= read -r name; do
		if [ -f "/$name" ] && [ ! -L "/$name" ]; then
			printf '%s\n' "$name"
		fi
	done >"$set/.files"
	cd /
	tr '\n' '\0' <"$set/.files" | xargs -0 -r cp --link --no-dereference --parents --target-directory="$set" -- ||
		fail "files could not be set aside for the nodes that have them open: free space or inodes, or go on without by SIDUSBOOT_ASIDE=no"
	rm -f "$set/.files"
	rm -f "$set/.names" # The last one: it is complete now.
	trap - EXIT
}

renew() {
	[ ! -d $stamp ] || fail "$stamp is a directory: remove it"
	mkdir -p "${stamp%/*}"
	count=
	if [ -f $stamp ]; then
		read -r _ count _ <$stamp || :
	fi
	case $count in
	'' | 0* | *[!0-9]* | ??????????*) count=0 ;;
	esac
	rm -f $stamp.sidusboot
	echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $((count + 1)) $$" >$stamp.sidusboot
	sync $stamp.sidusboot
	mv -T -f $stamp.sidusboot $stamp
	sync "${stamp%/*}"
}

expire() {
	[ ! -L $aside ] || return 0
	now=$(date -u +%Y%m%d%H%M%S)
	for set in "$aside"/until-*; do
		end=${set##*/until-}
		end=${end%-*}
		end=${end%-*}${end#*-}
		case $end in
		'' | *[!0-9]* | 0*) continue ;;
		esac
		if [ -d "$set" ] && [ ! -L "$set" ] && [ "$end" -le "$now" ]; then
			rm -rf --one-file-system "$set"
		fi
	done
	rmdir $aside 2>/dev/null || :
}

case ${1-} in
apt)
	set_aside by_apt
	;;
dpkg)
	# apt has done it.
	[ -z "${DPKG_FRONTEND_LOCKED-}" ] && [ "${SIDUSBOOT_ASIDE-}" != no ] || exit 0
	case ${DPKG_HOOK_ACTION-} in
	install | unpack | remove | purge) ;;
	*) exit 0 ;;
	esac
	if [ ! -r /proc/self/cmdline ]; then
		echo "sidusboot: dpkg runs without apt, and /proc is not mounted: nothing is set aside; use apt-get install ./FILE.deb instead" >&2
		exit 0
	fi
	set_aside by_dpkg
	;;
dpkg-after)
	[ -z "${DPKG_FRONTEND_LOCKED-}" ] || exit 0
	case ${DPKG_HOOK_ACTION-} in
	install | unpack | configure | remove | purge | triggers-only) ;;
	*) exit 0 ;;
	esac
	renew
	expire
	;;
after)
	renew
	expire
	;;
*)
	fail "usage: $0 apt | dpkg | dpkg-after | after"
	;;
esac
