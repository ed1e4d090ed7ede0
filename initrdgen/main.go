// Command initrdgen packs one initrd for the diskless nodes of a site: the static
// /init of sidusboot with the kernel modules of a root tree.
//
// It reads only the tree given with --root, never the running host, and needs
// neither root nor chroot. The image is the same, bit for bit, whoever builds
// it from the same tree.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
)

// version is what the Makefile calls the source, by -X main.version.
var version string

func main() {
	os.Exit(command.Run(rootCommand(), os.Args[1:], os.Stdout, os.Stderr))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "initrdgen",
		Short: "Build one initrd for all diskless nodes of a site",
		Long: `initrdgen packs the static /init of sidusboot and the kernel modules of a
root tree into one initrd, which boots every node of a site over the network.

It reads only the tree, never the running host, and needs neither root nor
chroot. The same tree and options give the same image, bit for bit.`,
		Example: `  initrdgen build --root /srv/nfs/bookworm --output /srv/tftp/initrd.img
  initrdgen list /srv/tftp/initrd.img
  initrdgen check /srv/tftp/initrd.img --modalias node.modalias --root /srv/nfs/bookworm
  initrdgen install --tftp /srv/tftp --image initrd.img --root /srv/nfs/bookworm
  initrdgen secrets --key site.key --nodes 10.0.0.1-10.0.0.20`,
		Version: command.Version("initrdgen", version),
	}
	root.AddCommand(buildCommand(), listCommand(), catCommand(), extractCommand(), diffCommand(), checkCommand(),
		installCommand(), ukiCommand(), secretsCommand(), versionCommand(), command.ManCommand("initrdgen"))
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of initrdgen",
		Long:    "Print the version that initrdgen was built from, and the Go release that built it.",
		Example: "  initrdgen version",
		Args:    command.Arguments(0),
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), command.Version("initrdgen", version))
		},
	}
}

// printWarnings writes the warnings of a report to standard error, one on each line.
func printWarnings(cmd *cobra.Command, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintf(cmd.ErrOrStderr(), "initrdgen: warning: %s\n", command.Printable(w))
	}
}
