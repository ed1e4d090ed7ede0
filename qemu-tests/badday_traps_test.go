//go:build qemu

package qemutests

import (
	"slices"
	"strings"
	"testing"
)

// keptLayer makes an ext4 of a node's kept layer out of what a script leaves in
// the directory $D, and returns its path on the host and in the lab.
func (s *site) keptLayer(name string, size int64, script string) (host, inLab string) {
	s.t.Helper()
	host, inLab = s.volume(name, size)
	command(s.t, host, "D="+s.t.TempDir()+"\nmkdir -m 700 $D/work; mkdir -p $D/upper/etc\n"+script+
		"\nmkfs.ext4 -q -L node-0A4D000B -d $D $F")
	return host, inLab
}

// localDisk is a node with a volume as its disk.
func localDisk(file string) GuestOptions {
	return GuestOptions{NICs: []NIC{{MAC: MAC(1)}}, QEMU: []string{
		"-drive", "id=disk,if=none,format=raw,file=" + file, "-device", "virtio-blk-pci,drive=disk",
	}}
}

// diskParams make a probe whose layer is kept on the disk of localDisk.
func (s *site) diskParams(more string) string {
	return s.root("vers=3 ") + probeParams + " sidus.rw=LABEL=node-%I " + more
}

// TestTraps boots a node whose kept layer has something else in the place of every file
// that /init gives a node: what cannot be written is said, and the node boots.
// Nothing is written outside the union, and no FIFO is waited for.
func TestTraps(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.image = s.build("--profile=disk")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Router: ServerAddr, Domain: "sidus.test"})
	host, file := s.keptLayer("disk", 64<<20, `cd $D/upper/etc
echo 192.0.2.9 theirs >hosts
mkdir fstab iscsi nvme
mkfifo machine-id resolv.conf nvme/hostid
ln -s /run/sidusboot/stolen hostname.sidusboot
mkdir iscsi/initiatorname.iscsi
ln -s ../../../../../../run/sidusboot nvme/elsewhere
ln -s elsewhere/hostnqn nvme/hostnqn
truncate -s 1T hostid
ln -s /run/sidusboot ../ro; echo theirs >../run
cd -`)
	// chattr +i.
	command(t, host, "debugfs -w -R 'set_inode_field /upper/etc/hosts flags 0x80010' $F")
	g := s.boot(s.diskParams("sidus.onerror=reboot panic=-1"), localDisk(file))
	s.says(g, "handing over")
	s.same(g, []answer{
		{"findmnt -n -o FSTYPE -M /rw", "ext4"},
		{"findmnt -n -o FSTYPE -M /run; findmnt -n -o FSTYPE -M /ro", "tmpfs\nnfs"},
		{"readlink /ro.moved-by-sidusboot; cat /run.moved-by-sidusboot", "/run/sidusboot\ntheirs"},
		{"cat /etc/hosts", "192.0.2.9 theirs"},
		{"cat /etc/hostname", NodeName},
		{"grep -c ^nameserver /etc/resolv.conf", "1"},
		{"grep -c -x '[0-9a-f]*' /etc/machine-id", "1"},
		{"grep -c -x '[0-9a-f-]*' /etc/nvme/hostid", "1"},
		{"test -d /etc/fstab && echo untouched", "untouched"},
		// state and state.json come with the keeper's first look, within a minute.
		{"ls -1 /run/sidusboot | grep -v -x -e state -e state.json", "boot.json\nboot.log\nnode\nrw-check\nsidusnode"},
		{"find /etc /rw/upper -name '*.sidusboot*'", ""},
	})
	r := s.report(g)
	for _, want := range []string{
		"/etc/hosts: operation not permitted: it or its directory cannot be changed (lsattr shows i or a: chattr -ia)",
		"/etc/fstab is a directory, not a regular file", "/etc/iscsi/initiatorname.iscsi is a directory", "/etc/hostid has 1099511627776 bytes",
	} {
		if !slices.ContainsFunc(r.Notes, func(note string) bool { return strings.Contains(note, want) }) {
			t.Errorf("no note of %q in %q", want, r.Notes)
		}
		s.says(g, want)
	}
	if r.Attempts != 1 {
		t.Errorf("%d attempts, failures %q", r.Attempts, r.Failures)
	}
}
