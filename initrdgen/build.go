package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/initrd"
)

func buildCommand() *cobra.Command {
	var opts initrd.Options
	var verbose bool
	cmd := &cobra.Command{
		Use:   "build --root TREE --output FILE",
		Short: "Build an initrd from a root tree",
		Long: `Build an initrd from the root tree TREE, the one that the nodes mount over NFS.

The image holds /init, the NFS client, overlay (and aufs where the kernel has
it) and the drivers of the profiles, with everything that these need:

` + profileHelp() + `
Profiles add up: --profile virtual,disk, or --profile virtual --profile disk.
Where none of them has network drivers, generic comes along. Other file systems
than ext4 are modules: --module xfs, --module btrfs.

host=FILE makes the smallest image: of the network cards' drivers it has those of
the nodes in FILE, a node's boot.json (/run/sidusboot/boot.json), or modaliases,
one a line, of one node or of several:

  cat /sys/bus/*/devices/*/modalias /sys/devices/system/cpu/modalias | sort -u

Every FILE must have a card that the kernel has a driver for. bonding goes in where
a FILE has several cards. What is on disks is the profile disk's, with all its drivers.

Drivers for devices that few nodes have stay packed in the image, each by itself,
and are unpacked on the nodes that need them. Those of virtual, and those named by
--module, are unpacked at each boot.

Drivers that DKMS or a vendor installed (updates/, extra/, weak-updates/) take
the place of the kernel's own: generic has every one that makes wired network
interfaces, and the report names them. A driver that the tree's modprobe.d
blacklists is packed, but nodes do not pick it, unless --module names it.

Firmware that the drivers name goes in as far as TREE/lib/firmware has it. A
bare Debian tree has none: install its firmware packages for what your NICs
need. Drivers of whose firmware the tree has nothing are told as a warning.

Microcode for processors goes in front of the rest, uncompressed, where the tree has
it (Debian's intel-microcode and amd64-microcode): all of it, or with host=FILE that
of the nodes' processors, and none for the profile virtual alone, since kernels of
virtual machines load none. --microcode chooses otherwise. Intel's is 15 to 25 MB.

--strict makes an error of each warning about what goes in: firmware that the tree
lacks, each file that a driver names, a driver that modprobe.d forbids, a card without
a driver, what is broken in the tree's lists or in its microcode, a kernel that is left
out, an unknown parameter. Advice about secrets and about the owner of FILE stays a
warning. generic names firmware that no package has, so that it is for host=FILE and
virtual.

--secrets packs a file of users and passwords for the nodes' iSCSI volumes, a
line for each node; values with blanks stand in quotes, # begins a comment:

  MATCH USER PASSWORD [USER_IN PASSWORD_IN]

MATCH is an initiator name (iqn., eui. or naa.), a MAC, an IPv4 address or the
word default; where several fit a node, the first kind of these wins. USER_IN
and PASSWORD_IN are what the target must prove. The file must have mode 0600,
and the image gets it as well: everybody who can fetch the image can read them.
initrdgen secrets makes such a file out of one key.

TREE may be for another architecture than this machine: amd64 or arm64. Its kernel's
modules say which, and the init for it is taken: beside initrdgen make leaves init
for this machine and init-arm64 or init-amd64 for the other.

TREE is only read. FILE appears whole or not at all: a build that fails or is
interrupted leaves the old one as it was. The new one has the owner, the mode and
the access list of the one that it replaces, so that a boot server keeps what it
was given; only root may give a file to another user. With --secrets a mode that
let everybody read becomes 0600. Links on the way to FILE are followed if they are
root's or yours: another user's could lead the image to any place.

What the image has no use for may be broken, that is a warning; what it needs is
an error that names the file. Folders that a removed kernel left behind are no
kernels. What went in, and what it weighs, is printed at the end.`,
		Example: `  # The kernel of a Debian tree, for any node with a wired network
  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img

  # Small, for virtual machines, with parameters for the kernel command line in it
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --profile virtual --config sidusboot.conf

  # With the passwords of the nodes' iSCSI volumes
  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img \
      --profile iscsi --secrets room.secrets

  # For the nodes of one model: their NIC, with iSCSI
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --profile host=node7-boot.json,iscsi --strict

  # One of several kernels, one more module at every boot, packed for an old kernel
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --kernel 6.1.0-56-amd64 --module macvlan --compress gzip`,
		Args: command.Arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Init == "" {
				self, err := os.Executable()
				if err != nil {
					return fmt.Errorf("--init: %w: name sidusboot's init", err)
				}
				opts.InitDir = initDir(filepath.Dir(self))
			}
			opts.Builder = command.Version("initrdgen", version)
			rep, err := initrd.Build(cmd.Context(), opts)
			if err != nil {
				return withFlag(err)
			}
			for _, w := range rep.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "initrdgen: warning: %s\n", command.Printable(w))
			}
			return command.Print(cmd, rep, func(w io.Writer) {
				printReport(w, rep, verbose)
				if opts.DryRun {
					fmt.Fprintln(w, "  nothing was written (--dry-run)")
				}
			})
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.Root, "root", "", "the root `TREE` that the nodes mount (required)")
	f.StringVar(&opts.Output, "output", "", "the initrd `FILE` to write (required)")
	f.StringVar(&opts.Kernel, "kernel", "", "kernel `RELEASE` in TREE/lib/modules, or all; needed where there are several")
	f.StringSliceVar(&opts.Profiles, "profile", []string{initrd.DefaultProfile}, "which drivers go in: `PROFILE`s are "+strings.Join(profileNames(), ", ")+"; may be repeated")
	f.StringArrayVar(&opts.Modules, "module", nil, "one more module, by `NAME`, loaded at every boot, whatever devices there are; may be repeated")
	f.StringVar(&opts.Config, "config", "", "`FILE` of kernel command line parameters, checked and packed as /etc/sidusboot.conf")
	f.StringVar(&opts.Secrets, "secrets", "", "`FILE` of users and passwords by node, mode 0600, checked and packed as /etc/sidusboot.secrets")
	f.StringVar(&opts.Rescue, "rescue", "", "static program `FILE` (busybox of busybox-static, say), packed as /rescue, for sidus.onerror=shell")
	f.StringVar(&opts.Init, "init", "", "the `FILE` that becomes /init (default: the one for the tree's architecture, init or init-ARCH, beside initrdgen or in ../lib/sidusboot)")
	f.StringVar(&opts.Compress, "compress", initrd.Compressors()[0], "how to pack: `NAME` is "+strings.Join(initrd.Compressors(), ", "))
	f.StringVar(&opts.Microcode, "microcode", initrd.Microcodes()[0], "which microcode of TREE goes in: `WHICH` is "+strings.Join(initrd.Microcodes(), ", "))
	f.BoolVar(&opts.Strict, "strict", false, "warnings about what goes in, and firmware that TREE lacks, are errors")
	f.StringVar(&opts.Report, "report", "", "write what went in to `FILE` as JSON")
	f.BoolVar(&opts.DryRun, "dry-run", false, "do everything but write: the report is that of the image, and so are errors in the tree")
	command.AddJSON(cmd)
	f.BoolVar(&verbose, "verbose", false, "list the firmware that the tree lacks, by driver")
	return cmd
}

// initDir is where the init programs of an initrdgen in the directory dir are: where a
// package has them, or beside it. In /usr/bin an init may be that of the machine.
func initDir(dir string) string {
	packaged := filepath.Join(dir, "../lib/sidusboot")
	if _, err := os.Stat(filepath.Join(packaged, "init")); err == nil {
		return packaged
	}
	return dir
}

// flags are those of the fields of initrd.Options and bootdir.Options whose name is
// not the flag's.
var flags = map[string]string{
	"Profiles": "profile", "Modules": "module",
	"Dir": "tftp", "Loaders": "loader", "AppendTmpfs": "append-tmpfs", "AppendISCSI": "append-iscsi", "Version": "to", "Labels": "label",
}

// withFlag names the flag where an error is about one of the options.
func withFlag(err error) error {
	option := (*initrd.OptionError)(nil)
	if !errors.As(err, &option) {
		return err
	}
	flag := flags[option.Field]
	if flag == "" {
		flag = strings.ToLower(option.Field)
	}
	err = fmt.Errorf("--%s: %w", flag, option.Err)
	if option.Invalid {
		return command.UsageError{Err: err}
	}
	return err
}

func profileNames() []string {
	var names []string
	for _, p := range initrd.Profiles() {
		names = append(names, p.Name)
	}
	return names
}

func profileHelp() string {
	var b strings.Builder
	for _, p := range initrd.Profiles() {
		fmt.Fprintf(&b, "  %-10s %s\n", p.Name, p.Help)
	}
	return b.String()
}

// printReport writes a report for people.
func printReport(w io.Writer, r *initrd.Report, verbose bool) {
	fmt.Fprintf(w, "%s: %s, profile %s", r.Output, megabytes(r.Packed), r.Profile)
	if r.Architecture != "" {
		fmt.Fprintf(w, ", for %s", r.Architecture)
	}
	fmt.Fprintln(w)
	for _, k := range r.Kernels {
		fmt.Fprintf(w, "  kernel    %s: %d modules, %s\n", k.Release, k.Modules, megabytes(k.Bytes))
		var outside, names []string
		for _, m := range k.Outside {
			outside = append(outside, fmt.Sprintf("%s (%s)", m.Name, command.Printable(m.Path)))
		}
		if len(outside) > 0 {
			fmt.Fprintf(w, "  outside   kernel/: %s\n", strings.Join(outside, ", "))
		}
		for _, h := range k.Hosts {
			fmt.Fprintf(w, "  host      %s: %s\n", command.Printable(h.File), strings.Join(h.Modules, ", "))
		}
		for _, h := range k.Heaviest {
			names = append(names, fmt.Sprintf("%s %.1f", h.Name, float64(h.Bytes)/1e6))
		}
		fmt.Fprintf(w, "  heaviest  %s\n", strings.Join(names, ", "))
	}
	fmt.Fprintf(w, "  init      %s\n", megabytes(r.Init))
	fmt.Fprintf(w, "  firmware  %d files, %s; %d that drivers name are not in the tree\n",
		r.Firmware.Files, megabytes(r.Firmware.Bytes), len(r.Firmware.Missing))
	for _, m := range r.Microcode {
		fmt.Fprintf(w, "  microcode %s: %d files, %s\n", m.Vendor, m.Files, megabytes(m.Bytes))
	}
	if verbose {
		for _, driver := range slices.Sorted(maps.Keys(r.Firmware.MissingFor)) {
			for _, name := range r.Firmware.MissingFor[driver] {
				fmt.Fprintf(w, "            %s: missing %s\n", driver, command.Printable(name))
			}
		}
	}
	fmt.Fprintf(w, "  total     %s unpacked, %s as %s, built in %.1f s\n",
		megabytes(r.Unpacked), megabytes(r.Packed), r.Compress, r.Seconds)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
