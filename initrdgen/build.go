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
Several profiles can be combined: --profile virtual,disk, or --profile virtual
--profile disk. If none of them has network drivers, generic is added. File
systems other than ext4 are added as modules: --module xfs, --module btrfs.

host=FILE makes the smallest image: its only network drivers are those for the nodes
in FILE. FILE is a node's boot.json (/run/sidusboot/boot.json), or a list of one or
more nodes' modaliases, one on each line, which this prints on a node:

  cat /sys/bus/*/devices/*/modalias /sys/devices/system/cpu/modalias | sort -u

Each FILE must have a network card for which the kernel has a driver. If a FILE has
several cards, bonding is added. Drivers of disks come only with the profile disk,
and then all of them.

Drivers for devices that only some nodes have are compressed in the image, each by
itself, and only the nodes that need them decompress them. The drivers of virtio,
and those given with --module, are decompressed at every boot.

Drivers that DKMS or a vendor installed (updates/, extra/, weak-updates/) replace
the kernel's own. generic has all of them that are for wired network interfaces,
and the report lists them. A driver that is blacklisted in the tree's modprobe.d
is in the image, but nodes do not load it unless --module gives it.

Firmware that the drivers ask for is packed if TREE/lib/firmware has it. A
minimal Debian tree has none: install the firmware packages that your network
cards need. For drivers without any of their firmware there is a warning.

Microcode for processors is packed first and uncompressed, if the tree has it
(Debian's intel-microcode and amd64-microcode). With host=FILE as the only profile
with network drivers, and the processors in each FILE, it is that for these; else it
is all. With virtual as the only one there is none, because kernels of virtual
machines do not load microcode. For arm64 there is none either. --microcode chooses
another set. The microcode of Intel is 15 MB.

With --strict each warning about the content of the image is an error: a firmware
file that a driver asks for and the tree does not have, a driver that modprobe.d
keeps from being loaded, a card without a driver, a broken file among the tree's
lists or its microcode, a kernel that is left out, an unknown parameter. Advice
about secrets and about the owner of FILE stays a warning. Firmware that no package
of Debian has (such as that of acenic) does not count. The drivers of generic ask
for that of many packages, and those of a newer kernel for files that the
packages do not have yet: --allow-missing names what may be missing.

--secrets packs a file of users and passwords for the nodes' iSCSI volumes, one
line for each node; a value with blanks is in quotes, # starts a comment:

  MATCH USER PASSWORD [USER_IN PASSWORD_IN]

MATCH is an initiator name (iqn., eui. or naa.), a MAC, an IPv4 address or the
word default. If several lines match a node, the first of these kinds is used.
With USER_IN and PASSWORD_IN the target proves itself to the node. The file must
have mode 0600, and so has the image: everybody who can fetch the image can read
the passwords. initrdgen secrets makes such a file from one key.

TREE may be for another architecture than this machine: amd64 or arm64. initrdgen
reads it from the kernel's modules and packs the init for it. make leaves both
beside initrdgen: init for this machine, init-arm64 or init-amd64 for the other.

TREE is only read. FILE is replaced as a whole: a build that fails or is
interrupted does not change the old image. The new image has the owner, the mode
and the access list of the old one, so that the boot server can still read it;
only root may give a file to another user. With --secrets, a mode that let
everybody read becomes 0600. Symbolic links in the path of FILE are followed only
if they belong to root or to you.

A broken file that the image does not need is a warning; one that it needs is an
error with the name of the file. Directories that a removed kernel left behind
are not counted as kernels. At the end initrdgen prints what is in the image, and
how large it is.`,
		Example: `  # The kernel of a Debian tree, for any node with a wired network
  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img

  # Small, for virtual machines, with parameters for the kernel command line in it
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --profile virtual --config sidusboot.conf

  # With the passwords of the nodes' iSCSI volumes
  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img \
      --profile iscsi --secrets room.secrets

  # For nodes of one model: the driver of their network card, with iSCSI
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --profile host=node7-boot.json,iscsi --strict

  # One of several kernels, one module that every node loads, compressed for an old kernel
  initrdgen build --root /srv/nfs/bookworm --output initrd.img \
      --kernel 6.1.0-56-amd64 --module macvlan --compress gzip`,
		Args: command.Arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if command.JSON(cmd) {
				if err := command.Ignored(cmd, "--json has the missing firmware of each driver", "verbose"); err != nil {
					return err
				}
			}
			if opts.Init == "" {
				self, err := os.Executable()
				if err != nil {
					return fmt.Errorf("--init: %w: give sidusboot's init", err)
				}
				opts.InitDir = initDir(filepath.Dir(self))
			}
			opts.Builder = command.Version("initrdgen", version)
			rep, err := initrd.Build(cmd.Context(), opts)
			if strict := (*initrd.StrictError)(nil); errors.As(err, &strict) {
				printWarnings(cmd, strict.Findings)
				return errors.New("--strict: no image was built, because of the warnings above: correct what they are about; " +
					"--allow-missing names firmware that may be missing")
			}
			if err != nil {
				return withFlag(cmd, err)
			}
			printWarnings(cmd, rep.Warnings)
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
	f.StringSliceVar(&opts.Profiles, "profile", []string{initrd.DefaultProfile}, "which drivers are packed: `PROFILE` is one or more of "+strings.Join(profileNames(), ", ")+"; may be repeated")
	f.StringArrayVar(&opts.Modules, "module", nil, "one more module, by `NAME`, loaded at every boot, whatever devices there are; may be repeated")
	f.StringVar(&opts.Config, "config", "", "`FILE` of kernel command line parameters, checked and packed as /etc/sidusboot.conf")
	f.StringVar(&opts.Secrets, "secrets", "", "`FILE` of users and passwords by node, mode 0600, checked and packed as /etc/sidusboot.secrets")
	f.StringVar(&opts.Rescue, "rescue", "", "static program `FILE` (such as busybox from busybox-static), packed as /rescue, for sidus.onerror=shell")
	f.StringVar(&opts.Init, "init", "", "the `FILE` that becomes /init (default: the one for the tree's architecture, init or init-ARCH, beside initrdgen or in ../lib/sidusboot)")
	f.StringVar(&opts.Compress, "compress", initrd.Compressors()[0], "how the image is compressed: `NAME` is "+strings.Join(initrd.Compressors(), ", "))
	f.StringVar(&opts.Microcode, "microcode", initrd.MicrocodeChoices()[0], "which microcode of TREE is packed: `WHICH` is "+strings.Join(initrd.MicrocodeChoices(), ", "))
	f.BoolVar(&opts.Strict, "strict", false, "warnings about the content of the image are errors, also missing firmware")
	f.StringArrayVar(&opts.AllowMissing, "allow-missing", nil, "firmware that may be missing, also with --strict: `PATTERN` is a name below TREE/lib/firmware, with * for anything but a slash; may be repeated")
	f.StringVar(&opts.Report, "report", "", "write what is in the image to `FILE`, as JSON")
	f.BoolVar(&opts.DryRun, "dry-run", false, "do all but write: the report and the errors are the same as without it")
	command.AddJSON(cmd)
	f.BoolVar(&verbose, "verbose", false, "list the missing firmware files of each driver")
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
	"Profiles": "profile", "Modules": "module", "AllowMissing": "allow-missing",
	"Dir": "tftp", "Loaders": "loader", "AppendTmpfs": "append-tmpfs", "AppendISCSI": "append-iscsi", "Version": "to", "Labels": "label",
}

// withFlag names the flag where an error is about one of the options, and those that would
// help.
func withFlag(cmd *cobra.Command, err error) error {
	var with []string
	if remedy := (*initrd.RemedyError)(nil); errors.As(err, &remedy) {
		for _, field := range remedy.Fields {
			name := "--" + flagOf(field)
			if cmd.Flags().Lookup(flagOf(field)) == nil {
				name = "initrdgen build " + name // How the image is made.
			}
			with = append(with, name)
		}
	}
	invalid := false
	if option := (*initrd.OptionError)(nil); errors.As(err, &option) {
		err, invalid = fmt.Errorf("--%s: %w", flagOf(option.Field), option.Err), option.Invalid
	}
	if len(with) > 0 {
		err = fmt.Errorf("%w (%s)", err, strings.Join(with, ", "))
	}
	if invalid {
		return command.UsageError{Err: err}
	}
	return err
}

// flagOf is the flag for a field of the options.
func flagOf(field string) string {
	if flag := flags[field]; flag != "" {
		return flag
	}
	return strings.ToLower(field)
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
	fmt.Fprintf(w, "  firmware  %d files, %s; %d that drivers ask for are not in the tree\n",
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
