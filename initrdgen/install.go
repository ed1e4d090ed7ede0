package main

import (
	"context"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/bootdir"
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

  pxelinux  a block in pxelinux.cfg/default
  grub      a block in grub/grub.cfg
  ipxe      sidus.ipxe

There are two labels. With tmpfs, what a node writes is lost at its next boot. With
iscsi, it is kept on the node's own volume; this label needs an image with the
profile iscsi. --default says which label the nodes boot. To let one node boot the
other label, write a file for it:

  pxelinux  pxelinux.cfg/01-MAC with the lines
              INCLUDE pxelinux.cfg/default
              DEFAULT iscsi
  grub      grub/01-MAC.cfg, the MAC with colons, with the line
              set default=iscsi
  ipxe      ipxe.cfg/01-MAC with the lines
              #!ipxe
              set label iscsi

MAC is, for example, 52-54-00-12-34-56. initrdgen never changes these files, nor
anything outside the lines "# BEGIN sidusboot" and "# END sidusboot". If another
entry has the same name, that is an error: with --name NAME the labels are called
NAME-tmpfs and NAME-iscsi. --name also keeps a second tree apart in the same DIR.

With sidus.server=boot in --append, and no server in nfsroot=, the tree is at the host
that the kernel came from: iPXE and GRUB write there which one it was.

Each version has its own directory, sidus/RELEASE-DIGEST, and the configuration
has the full paths of its files: a node that read the configuration before an
install gets a kernel and an image that belong together. The last three versions
are kept (--keep), and every version that is in any configuration. --rollback goes
back to the version that was used before; a second --rollback undoes the first.

Each file is replaced as a whole. If the version is installed already, nothing is
written, so this can run after each build. It is an error if the kernel is not the
image's, or if /init does not understand a parameter.

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

  # Print what would be done; go back to the version before
  initrdgen install --tftp /srv/tftp --image initrd.img --root /srv/nfs/bookworm --dry-run
  initrdgen install --tftp /srv/tftp --rollback`,
		Args: command.Arguments(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkInstallFlags(cmd, opts); err != nil {
				return err
			}
			rep, err := install(cmd.Context(), opts)
			if err != nil {
				return withFlag(cmd, err)
			}
			printWarnings(cmd, rep.Warnings)
			return command.Print(cmd, rep, func(w io.Writer) { printInstalled(w, rep, opts.DryRun) })
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opts.Dir, "tftp", "", "the `DIR` that the boot server offers (required)")
	addBootFlags(cmd, &opts.Options.Options, "")
	f.StringSliceVar(&opts.Loaders, "loader", bootdir.Loaders(), "loaders to configure: `NAME` is one or more of "+strings.Join(bootdir.Loaders(), ", ")+"; may be repeated")
	f.StringVar(&opts.Name, "name", bootdir.DefaultName, "`NAME` of the directory in DIR, and of the blocks")
	f.StringVar(&opts.Path, "path", "/", "`PATH` of DIR as GRUB requests it from the boot server")
	f.StringVar(&opts.owner, "owner", "", "the `USER` that the boot server runs as, by name or number; needed for an image with secrets")
	f.IntVar(&opts.Keep, "keep", bootdir.DefaultKeep, "how many versions are kept: `N` is 2 or more")
	f.BoolVar(&opts.rollback, "rollback", false, "go back to the version that was used before; needs only --tftp and --name")
	f.StringVar(&opts.to, "to", "", "with --rollback: go back to the version `ID`")
	f.BoolVar(&opts.DryRun, "dry-run", false, "write nothing, and print what would be written")
	command.AddJSON(cmd)
	return cmd
}

// checkInstallFlags refuses flags that contradict each other, or of which one would have
// no effect.
func checkInstallFlags(cmd *cobra.Command, opts installOptions) error {
	changed := func(name string) bool { return cmd.Flags().Changed(name) }
	switch {
	case opts.rollback:
		return command.IgnoredBut(cmd, "--rollback uses the kernel, the image, the parameters and the loaders of an installed version",
			"rollback", "to", "tftp", "name", "keep", "dry-run", "json", "help")
	case changed("to"):
		return command.Usagef("--to needs --rollback: give both, or leave out --to")
	case opts.Kernel != "" && opts.Root != "":
		return command.Usagef("--kernel and --root both give the kernel: leave one out")
	case len(opts.Loaders) > 0 && !slices.Contains(opts.Loaders, "grub"):
		return command.Ignored(cmd, "--loader does not name grub", "path")
	}
	return nil
}

func install(ctx context.Context, opts installOptions) (*bootdir.Report, error) {
	opts.Owner = -1
	if opts.rollback {
		return bootdir.Rollback(opts.Options, opts.to)
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
		return 0, fmt.Errorf("--owner: there is no user %q in /etc/passwd: give the one that the boot server runs as (ps -o user= -C dnsmasq,in.tftpd), or its number", name)
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
		fmt.Fprintln(w, "  nothing was written: this version is installed already")
	case dry:
		fmt.Fprintln(w, "  nothing was written (--dry-run)")
	}
}
