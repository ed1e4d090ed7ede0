package qemutests

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// NFSDAddr is the address of the lab's guest with the kernel's NFS server.
const NFSDAddr = "10.77.0.3"

// An NFSD is a guest whose kernel is the NFS server: nfsd, with rpcbind and
// rpc.mountd for version 3. It has a place of its own among the machine's guests
// until it serves, and gives it to others then.
type NFSD struct {
	*Guest
	options NFSDOptions
}

// NFSDOptions describe what the server offers.
type NFSDOptions struct {
	// Tree is a directory of the host. The server has a copy on a disk of its
	// own, under the same path, and exports it read-only.
	Tree string
	// Writable lets the server itself, nobody else, write to its copy, which is made for
	// this lab and not kept.
	Writable bool
	// Without are versions that it does not serve: 3, 4, 4.0, 4.1, 4.2.
	Without []string
	// Grace is for how many seconds after its start it lets version 4 clients
	// open nothing. 0: not at all.
	Grace int
	// Threads is the number of nfsd's threads. 0: 4.
	Threads int
	// Port and MountPort are where nfsd and mountd listen. 0: 2049 and 20048.
	Port, MountPort int
	// SilentPortmapper lets rpcbind answer nobody while the server serves.
	SilentPortmapper bool
	// Options are further options of the export, with commas.
	Options string
	// Script is run by sh on the server before it serves, for more exports.
	Script string
}

// nfsdTree is the tree that the server guest boots from.
var nfsdTree = Variant{Suite: "bookworm", Packages: []string{"nfs-kernel-server"}}

// StartNFSD boots the server. Its own root comes from nfs-ganesha at ServerAddr,
// which is started where none runs; a ganesha that runs must export
// NFSDRoot's tree, too.
func (l *Lab) StartNFSD(ctx context.Context, o NFSDOptions) (*NFSD, error) {
	root, err := nfsdTree.Tree(ctx)
	if err != nil {
		return nil, err
	}
	kernel, _, err := Kernel(root)
	if err != nil {
		return nil, err
	}
	initrd, err := BuildImage(ctx, root, "--profile=virtual")
	if err != nil {
		return nil, err
	}
	disk, readonly := l.Path(filepath.Join(labDir, "nfsd.ext4")), ""
	if o.Writable {
		err = makeDisk(ctx, o.Tree, disk, nil)
		disk = filepath.Join(labDir, "nfsd.ext4") // As QEMU sees it.
	} else {
		readonly = ",readonly=on"
		disk, err = treeDisk(ctx, o.Tree)
	}
	if err != nil {
		return nil, err
	}
	if l.listening(NFSPort)(ctx) != nil {
		if _, err := l.StartNFS(ctx, NFSOptions{Exports: []Export{{Path: root}}}); err != nil {
			return nil, err
		}
	}
	g, err := l.Boot(ctx, GuestOptions{
		Name: "nfsd", Kernel: kernel, Initrd: initrd, NICs: []NIC{{MAC: MAC(98)}}, Memory: 1024,
		Cmdline: fmt.Sprintf("nfsroot=%s:%s,vers=3 ip=%s::%s:255.255.255.0:nfsd:eth0:none quiet init=%s",
			ServerAddr, root, NFSDAddr, ServerAddr, AgentInit),
		QEMU: []string{"-drive", "file=" + disk + ",if=virtio,format=raw" + readonly},
	})
	if err != nil {
		return nil, err
	}
	s := &NFSD{Guest: g, options: o}
	if _, err := g.Must(ctx, s.serve()); err != nil {
		return nil, err
	}
	g.leave() // A server has next to nothing to do.
	return s, nil
}

// NFSDRoot is the tree that the server guest of StartNFSD boots from.
func NFSDRoot(ctx context.Context) (string, error) { return nfsdTree.Tree(ctx) }

// PrepareNFSD makes what StartNFSD needs to export a tree, for who cannot wait
// later: on a new machine that takes minutes.
func PrepareNFSD(ctx context.Context, tree string) error {
	root, err := NFSDRoot(ctx)
	if err == nil {
		_, err = BuildImage(ctx, root, "--profile=virtual")
	}
	if err == nil {
		_, err = treeDisk(ctx, tree)
	}
	return err
}

// serve is the script that makes a server of the guest.
func (s *NFSD) serve() string {
	// An overlayfs cannot be exported, and NFSv4 exports what is above the tree.
	options := "ro,no_root_squash,async,no_subtree_check"
	if s.options.Options != "" {
		options += "," + s.options.Options
	}
	mount := "ro,noload"
	if s.options.Writable {
		mount = "rw"
	}
	return fmt.Sprintf(`set -e
modprobe -a virtio_blk ext4 nfsd
mkdir -p /export /run/rpcbind /var/lib/nfs/v4recovery
mount -t tmpfs export /export
mkdir -p /export%[1]s
mount -t ext4 -o %[5]s /dev/vda /export%[1]s
printf '[exports]\nrootdir=/export\n' >/etc/nfs.conf
mount -t nfsd nfsd /proc/fs/nfsd
ip link set lo up
rpcbind -w
rpc.mountd -p %[4]d
exportfs -o %[3]s 10.77.0.0/24:%[1]s
%[2]s
`, s.options.Tree, s.options.Script, options, cmp.Or(s.options.MountPort, 20048), mount) + s.start()
}

// start lets nfsd listen.
func (s *NFSD) start() string {
	argv := fmt.Sprintf("rpc.nfsd -p %d", cmp.Or(s.options.Port, NFSPort))
	for _, version := range s.options.Without {
		argv += " -N " + version
	}
	script := ""
	if s.options.Grace > 0 {
		script += fmt.Sprintf("echo %d >/proc/fs/nfsd/nfsv4gracetime\n", s.options.Grace)
	}
	if s.options.SilentPortmapper {
		// nfsd registers there.
		argv, script = "pkill -CONT rpcbind; "+argv, script+"trap 'pkill -STOP rpcbind' EXIT\n"
	}
	script += fmt.Sprintf("%s %d\n", argv, cmp.Or(s.options.Threads, 4))
	if s.options.Grace == 0 {
		script += "echo Y >/proc/fs/nfsd/v4_end_grace\n"
	}
	return script
}

// Stop makes the server unreachable until Start, after which clients have lost
// their state.
func (s *NFSD) Stop(ctx context.Context) error {
	_, err := s.Must(ctx, "rpc.nfsd 0")
	return err
}

// Start ends Stop.
func (s *NFSD) Start(ctx context.Context) error {
	_, err := s.Must(ctx, "set -e\n"+s.start())
	return err
}

// treeDisk is an ext4 image of a tree, made once.
func treeDisk(ctx context.Context, tree string) (string, error) {
	return cached(ctx, "disks", digest(tree)+".ext4", func(path string, held *os.File) error {
		return makeDisk(ctx, tree, path, held)
	})
}

// makeDisk makes an ext4 image of a tree. Unless held is nil, it is open for as long as
// mkfs runs.
func makeDisk(ctx context.Context, tree, path string, held *os.File) error {
	size, err := exec.CommandContext(ctx, "du", "-sm", "--apparent-size", tree).Output()
	if err != nil {
		return fmt.Errorf("du %s: %w", tree, err)
	}
	var mb int
	if _, err := fmt.Sscan(string(size), &mb); err != nil {
		return fmt.Errorf("du %s: %q", tree, size)
	}
	cmd := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-d", tree, path, fmt.Sprintf("%dM", mb*3/2+64))
	if held != nil {
		cmd.ExtraFiles = []*os.File{held}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4 -d %s: %w: %s", tree, err, strings.TrimSpace(string(out)))
	}
	return nil
}
