// Command sidustree keeps the versions of the nodes' root tree on the server: the
// administrator works in staging, publishes it as a version that never changes
// any more, and goes back to an older one when that is needed.
//
// It needs root, for the owners of the files. It reads and writes the base that
// it is given, and reads /var/lib/nfs/rmtab and /proc/fs/nfsd/clients to learn
// which nodes run which version.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/versions"
)

// version is what the Makefile calls the source, by -X main.version.
var version string

func main() {
	os.Exit(command.Run(rootCommand(), os.Args[1:], os.Stdout, os.Stderr))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sidustree",
		Short: "Keep versions of a root tree that nodes boot",
		Long: `sidustree keeps the versions of a root tree on the server.

A base is a directory with these in it:

  staging/       the tree that you work in: chroot, apt, an editor
  versions/ID/   a published version; it never changes
  current        a relative link to the version that nodes boot next

Publish a version, reboot the nodes when you like, and go back to the version before
if the new one is wrong. Running nodes keep the version that they booted, so nothing
that they use changes or disappears.

If a command is killed, or the machine stops, current still leads to a complete
version. The next command removes what is incomplete.

touch is for a tree that is changed in place, without versions. check is for both.

"sidustree completion bash > /etc/bash_completion.d/sidustree" completes commands,
options, directories and versions in bash; there is the same for zsh, fish and
PowerShell.`,
		Example: `  sidustree init /srv/nfsroot/sidus --from /srv/nfsroot/old
  chroot /srv/nfsroot/sidus/staging apt-get upgrade
  sidustree publish /srv/nfsroot/sidus
  sidustree list /srv/nfsroot/sidus
  sidustree rollback /srv/nfsroot/sidus
  sidustree gc /srv/nfsroot/sidus --keep 3`,
		Version: command.Version("sidustree", version),
	}
	command.AddJSON(root)
	root.AddCommand(initCommand(), publishCommand(), listCommand(), diffCommand(), rollbackCommand(), gcCommand(), checkCommand(), touchCommand(), command.ManCommand("sidustree"))
	return root
}

// withBase opens a base for a command.
func withBase(path string, f func(*versions.Base) error) error {
	b, err := versions.Open(path)
	if err != nil {
		return err
	}
	defer b.Close()
	return f(b)
}
