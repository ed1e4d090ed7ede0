//go:build qemu

package qemutests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// shutdownTime is what a node may take, of its own time, from the order to the
// end.
const shutdownTime = 20 * time.Second

// TestMultiUser boots Debian 12 and 13 all the way to multi-user, one over NFSv3,
// which is taken where it is served, and one over the version 4 that works. Not
// more units fail than in the same tree behind initramfs-tools, the node is what
// its lease says, the union keeps what is written and leaves the tree alone, and
// both kinds of shutdown end. The other two are probes, and whole boots in a soak.
func TestMultiUser(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			// nfs-ganesha 4.3 hands a kernel 6.12 that speaks 4.2 files without
			// content.
			negotiated := map[string]string{"bookworm": "4.2", "trixie": "4.1"}[suite]
			for _, test := range []struct {
				name, options, version, shutdown string
				reason                           Reason
			}{
				{"default", "", "3", "poweroff", PoweredOff},
				{"v4", "vers=4", negotiated, "reboot", Rebooted},
			} {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					s := newSite(t, suite)
					s.nfs(Export{}, NFSOptions{})
					s.dhcp(DHCPOptions{
						Router: ServerAddr, DNS: "10.77.0.1,10.77.0.53", Domain: "sidus.test", MTU: 1400, Lease: 2 * time.Hour,
						Extra: []string{
							"--dhcp-option=option:classless-static-route,10.88.0.0/16,10.77.0.9,0.0.0.0/0,10.77.0.7",
							"--dhcp-option=option:domain-search,a.test,b.test",
							"--dhcp-option=option:ntp-server,10.77.0.4",
						},
					})
					if !Soaking() && (suite == "bookworm") != (test.version == "3") {
						g := s.boot(s.root(test.options)+" "+probeParams, GuestOptions{})
						checkVersion(s, g, test.version)
						checkLease(s, g)
						checkUnion(s, g)
						checkUsers(s, g)
						return
					}
					g := s.boot(s.root(test.options)+" "+EventParam+" "+AgentParam, GuestOptions{})
					checkSystemd(s, g, func() []string { return peerFailures(t, suite) })
					checkVersion(s, g, test.version)
					checkLease(s, g)
					checkUnion(s, g)
					checkUsers(s, g)
					checkFiles(s, g)
					checkReport(s, g)

					// Which the kernel's log gets, with its time.
					order := "the test says " + test.shutdown
					s.orders(g, order, test.shutdown)
					s.ends(g, test.reason)
					s.stopped(g, order, shutdownTime)
				})
			}
		})
	}
}

// peerFailures boots a tree by initramfs-tools and returns the units that fail
// on such a node whatever boots it. Then it powers the node off.
func peerFailures(t *testing.T, suite string) []string {
	t.Helper()
	guest := peer(t.Context(), t, suite, AgentParam)
	failed, err := failedUnits(guest, t)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := guest.Run(t.Context(), orderScript("poweroff")); err != nil {
		t.Fatal(err)
	}
	if exit, err := guest.Wait(t.Context()); err != nil || exit.Reason != PoweredOff {
		t.Errorf("the peer ended with %+v, %v, want %s", exit, err, PoweredOff)
	}
	return failed
}

// failedUnits waits until systemd has started all, and lists what failed.
func failedUnits(g *Guest, t *testing.T) ([]string, error) {
	out, _, err := g.Run(t.Context(), "systemctl is-system-running --wait")
	if err != nil {
		return nil, err
	}
	state := strings.TrimSpace(out)
	units, err := g.Must(t.Context(), "systemctl --failed --no-legend --plain | awk '{ print $1 }'")
	failed := strings.Fields(units)
	if err == nil && (state != "running" && state != "degraded" || (state == "running") != (len(failed) == 0)) {
		err = fmt.Errorf("%s: systemd is %q with failed units %q", g.Name(), state, failed)
	}
	return failed, err
}

// checkSystemd waits for the end of the boot and checks that no unit failed but
// those that may, which are asked for when one has; nil: none may.
func checkSystemd(s *site, g *Guest, allowed func() []string) {
	s.t.Helper()
	failed, err := failedUnits(g, s.t)
	if err != nil {
		s.t.Fatal(err)
	}
	var may []string
	if len(failed) > 0 && allowed != nil {
		s.Idle() // That may want a place of its own.
		may = allowed()
	}
	for _, unit := range failed {
		if !slices.Contains(may, unit) {
			s.t.Errorf("%s failed, which does not behind initramfs-tools:\n%s", unit, s.run(g, "systemctl status --no-pager "+unit+" || true"))
		}
	}
	s.same(g, []answer{{"systemctl is-active multi-user.target", "active"}})
}

// checkVersion checks the version that the tree came by.
func checkVersion(s *site, g *Guest, version string) {
	s.t.Helper()
	fstype := "nfs4"
	if version == "3" {
		fstype = "nfs"
	}
	s.same(g, []answer{
		{`awk '$2 == "/ro" { print $1, $3 }' /proc/mounts`, ServerAddr + ":" + s.tree + " " + fstype},
		{`awk '$2 == "/ro" { print $4 }' /proc/mounts | tr , '\n' | grep -x -e ro -e vers=.*`, "ro\nvers=" + version},
	})
	if r := s.report(g); r.Root.NFSVersion != version || r.Attempts != 1 {
		s.t.Errorf("root %+v in attempt %d, want version %s in the first", r.Root, r.Attempts, version)
	}
	if version == "4.1" {
		s.says(g, "with version 4.2: mounted, but read /sbin/init: ", "; trying version 4.1")
	} else {
		s.silent(g, "; trying version")
	}
}

// checkLease checks that the node is what its lease says, in the kernel and in
// every file that tells it.
func checkLease(s *site, g *Guest) {
	s.t.Helper()
	// udev of Debian 13 would give the card another name.
	s.same(g, []answer{{"grep -l " + MAC(1) + " /sys/class/net/*/address", "/sys/class/net/eth0/address"}})
	s.same(g, []answer{
		{"hostname", NodeName},
		{"cat /etc/hostname", NodeName},
		{"cat /etc/resolv.conf", "search a.test b.test\nnameserver 10.77.0.1\nnameserver 10.77.0.53"},
		{"cat /sys/class/net/eth0/mtu", "1400"},
		{"ip -4 route | sed 's/ *$//' | sort", "10.77.0.0/24 dev eth0 proto kernel scope link src 10.77.0.11\n" +
			"10.88.0.0/16 via 10.77.0.9 dev eth0\ndefault via 10.77.0.7 dev eth0"},
		{"ip -4 -o addr show dev eth0 | awk '{ print $4, $6 }'", "10.77.0.11/24 10.77.0.255"},
		{"ip -4 -o addr show dev lo | awk '{ print $4 }'", "127.0.0.1/8"},
		{`set -e; . /run/net-eth0.conf
		echo "$DEVICE $PROTO $IPV4ADDR $IPV4BROADCAST $IPV4NETMASK $IPV4GATEWAY $IPV4DNS0 $IPV4DNS1"
		echo "$HOSTNAME $DNSDOMAIN $ROOTSERVER $DHCPLEASETIME $DOMAINSEARCH"`, "eth0 dhcp 10.77.0.11 10.77.0.255 255.255.255.0 10.77.0.7 10.77.0.1 10.77.0.53\n" +
			"node11 sidus.test 10.77.0.1 7200 a.test b.test"},
	})
}

// checkUnion checks what / is made of, and what becomes of writing and deleting
// in it: on the node, and in the tree on the server.
func checkUnion(s *site, g *Guest) {
	s.t.Helper()
	const file, lower = "/usr/share/sidusboot-test/written", "/usr/share/sidusboot-test/lower"
	s.same(g, []answer{
		{"findmnt -n -o SOURCE,FSTYPE -M / | tr -s ' '", "/rw overlay"},
		{"findmnt -n -o OPTIONS -M / | cut -d, -f1", "rw"},
		{"findmnt -n -o FSTYPE -M /ro; findmnt -n -o FSTYPE -M /rw", map[bool]string{true: "nfs4\ntmpfs", false: "nfs\ntmpfs"}[s.report(g).Root.NFSVersion != "3"]},
		{"awk '$2 ~ /^\\/(ro|rw|aufs)?$/ { print $2 }' /proc/mounts", "/ro\n/rw\n/"},
		{"stat -c '%a %u %g' / /ro /rw", "755 0 0\n755 0 0\n755 0 0"},

		{fmt.Sprintf("echo new >%s; cat %[1]s /rw/upper%[1]s", file), "new\nnew"},
		{fmt.Sprintf("test -e /ro%s || echo absent", file), "absent"},
		{fmt.Sprintf("rm %s; cat %[1]s 2>/dev/null || echo gone; cat /ro%[1]s", lower), "gone\nfrom the shared tree"},
		{"touch /ro/x 2>&1 || true", "touch: cannot touch '/ro/x': Read-only file system"},
		{"mv /usr/share/doc /usr/share/moved && test -d /usr/share/moved/base-files && echo yes", "yes"},
	})
	if _, err := os.Lstat(filepath.Join(s.tree, file)); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("the file that the node wrote is in the tree: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(s.tree, lower)); err != nil || string(b) != "from the shared tree\n" {
		s.t.Errorf("the file that the node deleted: %q, %v in the tree", b, err)
	}
}

// checkUsers checks that users other than root get what the tree gives them.
func checkUsers(s *site, g *Guest) {
	s.t.Helper()
	version, err := os.ReadFile(filepath.Join(s.tree, "etc/debian_version"))
	if err != nil {
		s.t.Fatal(err)
	}
	const user = "setpriv --reuid=998 --regid=998 --clear-groups "
	s.same(g, []answer{
		{user + "cat /etc/debian_version", strings.TrimSpace(string(version))},
		{user + "id -u", "998"},
		{user + "sh -c 'echo text >/tmp/of-998 && cat /tmp/of-998'", "text"},
		{user + "cat /etc/shadow 2>&1 || true", "cat: /etc/shadow: Permission denied"},
		{user + "touch /etc/x 2>&1 || true", "touch: cannot touch '/etc/x': Permission denied"},
	})
}

// checkFiles checks the files of the tree that /init changes.
func checkFiles(s *site, g *Guest) {
	s.t.Helper()
	s.same(g, []answer{
		{"cat /etc/fstab", `# made by mktree: a root line that is wrong for a diskless node, and a good one
# sidusboot: / is the union already: /dev/sda1 / ext4 errors=remount-ro 0 1
tmpfs /mnt tmpfs size=1m 0 0`},
		{"findmnt -n -o FSTYPE -M /mnt", "tmpfs"},
		{"cat /ro/etc/hostname", "sidus-tree"},
		{"find /rw/upper /etc /run -name '*.sidusboot*'", ""},
	})
}

// checkReport checks boot.json and boot.log.
func checkReport(s *site, g *Guest) {
	s.t.Helper()
	r := s.report(g)
	for what, pair := range map[string][2]string{
		"kernel":        {r.Kernel, s.release},
		"profile":       {r.Profile, "virtual"},
		"init":          {r.Init, "/sbin/init"},
		"device":        {r.Network.Device, "eth0"},
		"MAC":           {r.Network.MAC, MAC(1)},
		"driver":        {r.Network.Driver, "virtio_net"},
		"protocol":      {r.Network.Proto, "dhcp"},
		"address":       {r.Network.Address, "10.77.0.11/24"},
		"host name":     {r.Network.Hostname, NodeName},
		"routes":        {strings.Join(r.Network.Routes, ", "), "10.88.0.0/16 by 10.77.0.9, 0.0.0.0/0 by 10.77.0.7"},
		"DNS":           {strings.Join(r.Network.DNS, " "), "10.77.0.1 10.77.0.53"},
		"MTU and lease": {fmt.Sprint(r.Network.MTU, r.Network.LeaseSeconds), "1400 7200"},
		"source":        {r.Root.Source, ServerAddr + ":" + s.tree},
		"origin":        {r.Root.Origin, "command line"},
		"rw":            {r.RW.Kind + " " + r.RW.Size, "tmpfs 50%"},
		"union":         {r.Union.Kind, "overlay"},
		"failures":      {strings.Join(r.Failures, "\n"), ""},
	} {
		if pair[0] != pair[1] {
			s.t.Errorf("boot.json: %s %q, want %q", what, pair[0], pair[1])
		}
	}
	var stages []string
	for _, stage := range r.Stages {
		stages = append(stages, stage.Name)
		if stage.Took < 0 || stage.Start <= 0 {
			s.t.Errorf("boot.json: stage %+v", stage)
		}
	}
	if want := "config modules network nfs rw union identity"; strings.Join(stages, " ") != want {
		s.t.Errorf("boot.json: stages %v, want %s", stages, want)
	}
	s.same(g, []answer{{"tail -n 1 /run/sidusboot/boot.log | sed 's/.*] //'", "handing over to /sbin/init"}})
}
