package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
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
without a loader or its configuration. Signed with sbsign, it boots with Secure Boot.

It is an EFI stub to which sections are added. The stub comes from the tree (Debian:
package systemd-boot-efi) or from --stub. The same files and parameters give the
same bytes.

The labels are those of initrdgen install. With tmpfs, what a node writes is lost at
its next boot; with iscsi, it is kept on the node's own volume. Normally only the
label of --default is packed. --label tmpfs,iscsi packs both, each as a profile; the
first one is booted unless a boot menu or the firmware's options (@1) choose another.
This needs a stub of systemd 257 or later (Debian 13).

With Secure Boot, the content of the file cannot be changed at boot. Everybody who
can fetch the file can read it. If its image has secrets, it gets mode 0600.`,
		Example: `  # From a tree with systemd-boot-efi in it
  initrdgen uki --image initrd.img --root /srv/nfs/bookworm --output /srv/www/sidus.efi \
      --append 'nfsroot=10.0.0.1:/srv/nfs/bookworm'

  # The tree is at the host that the file came from
  initrdgen uki --image initrd.img --root /srv/nfs/bookworm --output /srv/www/sidus.efi \
      --append 'nfsroot=/srv/nfs/bookworm sidus.server=boot'

  # Sign it for Secure Boot, with the site's own key
  sbsign --key site.key --cert site.crt --output /srv/www/sidus.efi sidus.efi`,
		Args: command.Arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkUKIFlags(cmd, opts); err != nil {
				return err
			}
			rep, err := uki.Build(cmd.Context(), opts)
			if err != nil {
				return withFlag(cmd, err)
			}
			printWarnings(cmd, rep.Warnings)
			return command.Print(cmd, rep, func(w io.Writer) { printUKI(w, rep, opts.DryRun) })
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	addBootFlags(cmd, &opts.Options, ", the stub and os-release")
	f.StringVar(&opts.Stub, "stub", "", "the EFI stub, a `FILE`, instead of the tree's")
	f.StringVar(&opts.Output, "output", "", "the EFI program, a `FILE` to write (required)")
	f.StringSliceVar(&opts.Labels, "label", nil, "instead of --default: each `LABEL` that is packed, as a profile, the first one as the default; may be repeated")
	f.BoolVar(&opts.DryRun, "dry-run", false, "do all but write")
	command.AddJSON(cmd)
	return cmd
}

// checkUKIFlags refuses flags of which one would have no effect.
func checkUKIFlags(cmd *cobra.Command, opts uki.Options) error {
	packed, cause := opts.Labels, "--label does not name "
	if len(packed) > 0 {
		if err := command.Ignored(cmd, "--label names the labels, the default one first", "default"); err != nil {
			return err
		}
	} else {
		packed, cause = []string{cmp.Or(opts.Default, bootfiles.Tmpfs)}, "neither --default nor --label names "
	}
	for label, flag := range map[string]string{bootfiles.Tmpfs: "append-tmpfs", bootfiles.ISCSI: "append-iscsi"} {
		if slices.Contains(packed, label) {
			continue
		}
		if err := command.Ignored(cmd, cause+label, flag); err != nil {
			return err
		}
	}
	return nil
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
