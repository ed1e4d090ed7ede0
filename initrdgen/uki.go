package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/uki"
)

func ukiCommand() *cobra.Command {
	var opts uki.Options
	cmd := &cobra.Command{
		Use:   "uki {--root TREE [--image FILE] | --image FILE --kernel FILE --stub FILE} --output FILE.efi",
		Short: "Make one EFI program of kernel, image and parameters",
		Long: `Make a unified kernel image: one EFI program with the kernel, the image and the
kernel's parameters in it. A node's UEFI fetches it by HTTP or PXE and starts it,
without any loader or configuration. Signed by sbsign it boots with Secure Boot.

It is an EFI stub with sections behind it. The stub is the tree's own, of Debian's
package systemd-boot-efi, or that of --stub. The same files and parameters give the
same bytes.

The labels are those of initrdgen install: tmpfs, where a node forgets at its next
boot what it wrote, and iscsi, where it keeps that on its own volume. By default
one of them goes in, that of --default. --label tmpfs,iscsi makes a profile of each,
of which the first one is booted unless a boot menu or the firmware's own options
(@1) say otherwise; that wants a stub of systemd 257 or later, as of Debian 13.

What is in the file cannot be changed at boot with Secure Boot, and everybody who
can fetch it can read it. A file with --secrets in its image gets mode 0600.`,
		Example: `  # From a tree with systemd-boot-efi in it
  initrdgen uki --image initrd.img --root /srv/nfs/bookworm --output /srv/www/sidus.efi \
      --append 'nfsroot=10.0.0.1:/srv/nfs/bookworm'

  # For Secure Boot, with a key of the site's own
  sbsign --key site.key --cert site.crt --output /srv/www/sidus.efi sidus.efi`,
		Args: command.Arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			rep, err := uki.Build(cmd.Context(), opts)
			if err != nil {
				return withFlag(err)
			}
			for _, w := range rep.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "initrdgen: warning: %s\n", command.Printable(w))
			}
			return command.Print(cmd, rep, func(w io.Writer) { printUKI(w, rep, opts.DryRun) })
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.Image, "image", "", "the image, a `FILE` of initrdgen build; by default TREE/boot/initrd-sidus-RELEASE, the one made last")
	f.StringVar(&opts.Root, "root", "", "the root `TREE` that has the image's kernel in boot/, the stub and os-release")
	f.StringVar(&opts.Kernel, "kernel", "", "the kernel's `FILE`, instead of the tree's")
	f.StringVar(&opts.Stub, "stub", "", "the EFI stub, a `FILE`, instead of the tree's")
	f.StringVar(&opts.Output, "output", "", "the EFI program, a `FILE` to write (required)")
	f.StringVar(&opts.Append, "append", "", "kernel `PARAMETERS` for all labels")
	f.StringVar(&opts.AppendTmpfs, "append-tmpfs", "", "further `PARAMETERS` for the label tmpfs")
	f.StringVar(&opts.AppendISCSI, "append-iscsi", "", "further `PARAMETERS` for the label iscsi")
	f.StringVar(&opts.Default, "default", bootfiles.Tmpfs, "the `LABEL` that goes in: "+bootfiles.Tmpfs+" or "+bootfiles.ISCSI)
	f.StringSliceVar(&opts.Labels, "label", nil, "instead of --default: the `LABEL`s that go in, each as a profile, the first one as the default; may be repeated")
	f.BoolVar(&opts.DryRun, "dry-run", false, "do everything but write")
	command.AddJSON(cmd)
	return cmd
}

func printUKI(w io.Writer, r *uki.Report, dry bool) {
	fmt.Fprintf(w, "%s: %s, kernel %s, %s\n", r.Output, megabytes(r.Bytes), r.Kernel, strings.Join(r.Labels, ", "))
	fmt.Fprintf(w, "  stub      %s\n", command.Printable(r.Stub))
	for _, s := range r.Sections {
		fmt.Fprintf(w, "  %-8s  %d bytes\n", s.Name, s.Bytes)
	}
	if dry {
		fmt.Fprintln(w, "  nothing was written (--dry-run)")
	}
}
