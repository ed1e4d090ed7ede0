package main

import (
	"context"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/bootdir"
	"github.com/sidusboot/sidusboot/bootfiles"
	"github.com/sidusboot/sidusboot/command"
)

// installOptions are the flags of initrdgen install.
type installOptions struct {
	bootdir.Options
	owner, to string
	rollback  bool
}

func installCommand() *cobra.Command {
	var opts installOptions
	cmd := &cobra.Command{
		Use:   "install --tftp DIR {--root TREE [--image FILE] | --kernel FILE --image FILE}",
		Short: "Put kernel, image and the loaders' configuration into a boot server's directory",
		Long: `Put a kernel and an image into the directory DIR that a boot server offers by TFTP
or HTTP, with the configuration of the loaders:

  pxelinux  pxelinux.cfg/default, a block in it
  grub      grub/grub.cfg, a block in it
  ipxe      sidus.ipxe

There are two labels: tmpfs, where a node forgets at its next boot what it wrote,
and iscsi, where it keeps that on its own volume; iscsi only where the image is of
the profile iscsi. --default says which one nodes boot. One node boots another:

  pxelinux  pxelinux.cfg/01-MAC with the lines
              INCLUDE pxelinux.cfg/default
              DEFAULT iscsi
  grub      grub/01-MAC.cfg, the MAC with colons, with the line
              set default=iscsi
  ipxe      ipxe.cfg/01-MAC with the lines
              #!ipxe
              set label iscsi

MAC is 52-54-00-12-34-56. These files and all that is not between the two lines
"# BEGIN sidusboot" and "# END sidusboot" are never changed. An entry of the same
name that is there already is an error: another --name gives the labels that name
(NAME-tmpfs), and is also for a second tree in the same directory.

Each version is a directory of its own, sidus/RELEASE-DIGEST, and the configuration
names its files by their full path: a node that has read the configuration before
an install gets the kernel and the image that belong together. The last three
versions are kept (--keep), and those that any configuration names. --rollback goes
back to the one in use before; a second --rollback takes that back.

Each file appears whole or not at all. Where all is there already nothing is
written: it can run after each build. The kernel is checked to be that of the
image, and the parameters to be those that /init understands.

An image with secrets gets mode 0600 and the owner that --owner names.`,
		Example: `  # After each build of the image
  initrdgen install --tftp /srv/tftp --image initrd.img --root /srv/nfs/bookworm \
      --append 'nfsroot=10.0.0.1:/srv/nfs/bookworm quiet'

  # After each publication of a tree whose package sidusboot-tree has made the image
  initrdgen install --tftp /srv/tftp --root /srv/nfsroot/sidus/current \
      --append 'nfsroot=10.0.0.1:/srv/nfsroot/sidus'

  # Nodes with volumes, whose passwords are in the image
  initrdgen install --tftp /srv/tftp --image initrd.img --root /srv/nfs/bookworm \
      --append 'nfsroot=10.0.0.1:/srv/nfs/bookworm' --append-iscsi 'sidus.mkfs=blank' \
      --default iscsi --owner tftp

  # What would be done, and back to the version before
  initrdgen install --tftp /srv/tftp --image initrd.img --root /srv/nfs/bookworm --dry-run
  initrdgen install --tftp /srv/tftp --rollback`,
		Args: command.Arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			rep, err := install(cmd.Context(), opts)
			if err != nil {
				return withFlag(err)
			}
			for _, w := range rep.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "initrdgen: warning: %s\n", command.Printable(w))
			}
			return command.Print(cmd, rep, func(w io.Writer) { printInstalled(w, rep, opts.DryRun) })
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.Dir, "tftp", "", "the `DIR` that the boot server offers (required)")
	f.StringVar(&opts.Image, "image", "", "the image, a `FILE` of initrdgen build; by default TREE/boot/initrd-sidus-RELEASE, the one made last")
	f.StringVar(&opts.Root, "root", "", "the root `TREE` that has the image's kernel in boot/")
	f.StringVar(&opts.Kernel, "kernel", "", "the kernel's `FILE`, instead of --root")
	f.StringVar(&opts.Append, "append", "", "kernel `PARAMETERS` for both labels")
	f.StringVar(&opts.AppendTmpfs, "append-tmpfs", "", "further `PARAMETERS` for the label tmpfs")
	f.StringVar(&opts.AppendISCSI, "append-iscsi", "", "further `PARAMETERS` for the label iscsi")
	f.StringVar(&opts.Default, "default", bootfiles.Tmpfs, "the `LABEL` that nodes boot: "+bootfiles.Tmpfs+" or "+bootfiles.ISCSI)
	f.StringSliceVar(&opts.Loaders, "loader", bootdir.Loaders(), "for which loaders: `NAME`s are "+strings.Join(bootdir.Loaders(), ", ")+"; may be repeated")
	f.StringVar(&opts.Name, "name", bootdir.DefaultName, "`NAME` of the directory in DIR and of the blocks")
	f.StringVar(&opts.Path, "path", "/", "what DIR is called in requests to the boot server, a `PATH`; for GRUB")
	f.StringVar(&opts.owner, "owner", "", "the `USER` that the boot server runs as, by name or number; needed for an image with secrets")
	f.IntVar(&opts.Keep, "keep", bootdir.DefaultKeep, "how many versions are kept: `N` is 2 or more")
	f.BoolVar(&opts.rollback, "rollback", false, "go back to the version in use before; only --tftp and --name count")
	f.StringVar(&opts.to, "to", "", "with --rollback: to the version `ID`")
	f.BoolVar(&opts.DryRun, "dry-run", false, "write nothing, and say what would be written")
	command.AddJSON(cmd)
	return cmd
}

func install(ctx context.Context, opts installOptions) (*bootdir.Report, error) {
	opts.Owner = -1
	switch {
	case opts.rollback && (opts.Image != "" || opts.Root != "" || opts.Kernel != "" || opts.Append != ""):
		return nil, command.Usagef("--rollback takes kernel, image and parameters of a version that is there: leave out --image, --root, --kernel and --append")
	case opts.to != "" && !opts.rollback:
		return nil, command.Usagef("--to is for --rollback")
	case opts.rollback:
		return bootdir.Rollback(opts.Options, opts.to)
	case opts.Kernel != "" && opts.Root != "":
		return nil, command.Usagef("--kernel and --root are two ways to name the kernel: leave one out")
	}
	if opts.owner != "" {
		uid, err := userID(opts.owner)
		if err != nil {
			return nil, err
		}
		opts.Owner = uid
	}
	return bootdir.Install(ctx, opts.Options)
}

// userID is the number of a user, by name or number.
func userID(name string) (int, error) {
	if u, err := user.Lookup(name); err == nil {
		name = u.Uid
	}
	uid, err := strconv.ParseUint(name, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("--owner: there is no user %q in /etc/passwd: name the one that the boot server runs as (ps -o user= -C dnsmasq,in.tftpd), or its number", name)
	}
	return int(uid), nil
}

func printInstalled(w io.Writer, r *bootdir.Report, dry bool) {
	fmt.Fprintf(w, "%s: kernel %s, version %s\n", r.Dir, r.Kernel, r.Version)
	fmt.Fprintf(w, "  labels    %s; by default %s\n", strings.Join(r.Labels, ", "), r.Default)
	fmt.Fprintf(w, "  versions  %s\n", strings.Join(r.Versions, ", "))
	for _, c := range r.Changes {
		fmt.Fprintf(w, "  %-8s  %s\n", c.Action, command.Printable(c.Path))
	}
	switch {
	case len(r.Changes) == 0:
		fmt.Fprintln(w, "  all was there already")
	case dry:
		fmt.Fprintln(w, "  nothing was written (--dry-run)")
	}
}
