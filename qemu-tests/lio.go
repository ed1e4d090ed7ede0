package qemutests

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// LIOAddr is the address of the lab's LIO server.
const LIOAddr = "10.77.0.2"

// A LIO is a guest whose kernel is the iSCSI target: LIO, set up by configfs as
// targetcli would. It has a place of its own among the machine's guests.
type LIO struct {
	*Guest
	luns []LUN
}

// LIOOptions are the tree that the lab's NFS server exports, its kernel, and an
// image of the profile virtual for both.
type LIOOptions struct{ Tree, Kernel, Initrd string }

// configfs directories of LIO.
const (
	lioDir   = "/sys/kernel/config/target"
	lioDisks = lioDir + "/core/iblock_0"
)

// StartLIO boots the server and offers the LUNs, each as LUN 1 of its target.
// Their backing files are the server's disks, so that the host can look at
// them. A target lets in the lab's first two cards by the name that their nodes
// have by default, and no other.
func (l *Lab) StartLIO(ctx context.Context, o LIOOptions, luns []LUN) (*LIO, error) {
	opts := GuestOptions{
		Name: "lio", Kernel: o.Kernel, Initrd: o.Initrd, NICs: []NIC{{MAC: MAC(99)}}, Memory: 1024,
		Cmdline: fmt.Sprintf("nfsroot=%s:%s,vers=3 ip=%s::%s:255.255.255.0:lio:eth0:none quiet init=%s",
			ServerAddr, o.Tree, LIOAddr, ServerAddr, AgentInit),
	}
	for i, lun := range luns {
		opts.QEMU = append(opts.QEMU, lun.disk(fmt.Sprintf("lun%d", i))...)
	}
	g, err := l.Boot(ctx, opts)
	if err != nil {
		return nil, err
	}
	s := &LIO{Guest: g, luns: luns}
	script := fmt.Sprintf(`modprobe -a virtio_blk target_core_iblock iscsi_target_mod
mount -t configfs configfs /sys/kernel/config
mkdir -p /var/target/pr %s %s/iscsi
`, lioDisks, lioDir)
	for i, lun := range luns {
		script += lun.offer(i)
	}
	if _, err := g.Must(ctx, "set -e\n"+script); err != nil {
		return nil, err
	}
	g.leave() // A server has next to nothing to do.
	return s, nil
}

// disk is QEMU's arguments for a LUN's backing file.
func (lun LUN) disk(id string) []string {
	size := max(lun.BlockSize, 512)
	drive, file := "id="+id+",if=none,driver=raw", "file."
	if lun.Unreadable != 0 {
		drive += fmt.Sprintf(",file.driver=blkdebug,file.inject-error.0.event=none,file.inject-error.0.iotype=read,"+
			"file.inject-error.0.errno=5,file.inject-error.0.sector=%d", lun.Unreadable/512)
		file = "file.image."
	}
	return []string{
		"-drive", drive + "," + file + "driver=file," + file + "filename=" + lun.File,
		"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%[1]s,logical_block_size=%d,physical_block_size=%[2]d", id, size),
	}
}

// group is a target's portal group in configfs.
func (lun LUN) group() string { return path.Join(lioDir, "iscsi", lun.Target, "tpgt_1") }

// offer is the script that makes LUN 1 of a target out of a disk.
func (lun LUN) offer(i int) string {
	g, disk := lun.group(), fmt.Sprintf("%s/lun%d", lioDisks, i)
	script := fmt.Sprintf(`mkdir %s
dev=$(grep -l '^lun%d$' /sys/block/vd*/serial)
echo udev_path=/dev/$(basename $(dirname $dev)) >%[1]s/control
echo lun%[2]d >%[1]s/wwn/vpd_unit_serial
echo 1 >%[1]s/enable
mkdir -p %[3]s/lun/lun_1 %[3]s/np/%[4]s:%[5]d
ln -s %[1]s %[3]s/lun/lun_1/disk
echo 0 >%[3]s/attrib/generate_node_acls
`, disk, i, g, LIOAddr, ISCSIPort)
	for n := range 2 {
		acl := g + "/acls/" + nodeInitiator(MAC(n+1))
		script += fmt.Sprintf("mkdir -p %s/lun_1\nln -s %s/lun/lun_1 %[1]s/lun_1/disk\n", acl, g)
	}
	return script + lun.accounts() + fmt.Sprintf("echo 1 >%s/enable\n", g)
}

// nodeInitiator is the initiator name of a node by default.
func nodeInitiator(mac string) string { return "iqn.2013-09.org.sidusboot:" + mac }

// accounts is the script that sets what the two ends have to prove. LIO keeps it
// by initiator; whether it is asked for is the group's.
func (lun LUN) accounts() string {
	authentication := 0
	if lun.User != "" {
		authentication = 1
	}
	script := fmt.Sprintf("echo %d >%s/attrib/authentication\n", authentication, lun.group())
	for n := range 2 {
		auth := lun.group() + "/acls/" + nodeInitiator(MAC(n+1)) + "/auth/"
		for _, a := range [][2]string{{"userid", lun.User}, {"password", lun.Password}, {"userid_mutual", lun.UserIn}, {"password_mutual", lun.PasswordIn}} {
			value := a[1]
			if value == "" {
				value = "NULL" // What LIO takes for none.
			}
			script += fmt.Sprintf("echo -n '%s' >%s%s\n", value, auth, a[0])
		}
	}
	return script
}

// SetAccounts changes what a target's LUN asks for: User, Password, UserIn and
// PasswordIn of lun, found by its target.
func (s *LIO) SetAccounts(ctx context.Context, lun LUN) error {
	_, err := s.Must(ctx, "set -e\n"+lun.accounts())
	return err
}

// Enable lets a target's portal group serve, or stop serving: its sessions end
// and logins are refused until it is enabled again.
func (s *LIO) Enable(ctx context.Context, target string, on bool) error {
	value := map[bool]string{true: "1", false: "0"}[on]
	_, err := s.Must(ctx, "echo "+value+" >"+LUN{Target: target}.group()+"/enable")
	return err
}

// Sessions are the initiators that are logged in to a target.
func (s *LIO) Sessions(ctx context.Context, target string) ([]string, error) {
	out, err := s.Must(ctx, "grep -l LOGGED_IN "+LUN{Target: target}.group()+"/acls/*/info || true")
	var names []string
	for line := range strings.Lines(out) {
		names = append(names, path.Base(path.Dir(strings.TrimSpace(line))))
	}
	return names, err
}
