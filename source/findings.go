package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/nfs"
	"github.com/sidusboot/sidusboot/tree"
)

// nestedTime is what the search for nested file systems may take: it does not decide
// the boot.
const nestedTime = 15 * time.Second

// maxNested is how many file systems within a tree are named: a server may have
// thousands, one for each user.
const maxNested = 10

// NoteNested names what is on the server below the tree in dir and cannot be
// seen.
func (m *Mounter) NoteNested(s nfs.Source, version, dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), nestedTime)
	defer cancel()
	m.WaitFor("the NFS server, which is asked for file systems within the tree")
	nested := m.NFS.Nested(ctx, s, version, dir)
	if more := len(nested) - maxNested; more > 0 {
		nested = append(nested[:maxNested], fmt.Sprintf("and %d more", more))
	}
	if len(nested) > 0 {
		m.Note(fmt.Sprintf("nfs: %s: on the server other file systems begin within the tree, at %s, and no node sees them: "+
			"put these directories on the tree's own file system, or mount them by the tree's fstab", s, strings.Join(nested, ", ")))
	}
}

// Findings are what is wrong with the tree in root for this kernel.
func Findings(root, wantedInit, release string) (all []string) {
	// Where the owners are wrong in every version of NFS the tree is taken as it is.
	var owner *tree.OwnerError
	if err := tree.At(root).CheckOwner(wantedInit); errors.As(err, &owner) {
		all = append(all, fmt.Sprintf("%v: %v", owner, nfs.ErrOwner))
	}
	// Login and sudo fail there in ways that nobody traces back to NFS.
	f, err := tree.At(root).Open("/etc/shadow")
	if errors.Is(err, os.ErrPermission) {
		all = append(all, "root may not read /etc/shadow in the tree: export it with no_root_squash, because otherwise nobody can log in")
	}
	if err == nil {
		f.Close()
	}
	if !tree.At(root).IsDir("/lib/modules/" + release) {
		all = append(all, "the tree has no /lib/modules/"+release+": after the switch this kernel can load no module: install the kernel's package in the tree, or boot the kernel that the tree has")
	}
	return all
}
