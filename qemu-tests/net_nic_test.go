//go:build qemu

package qemutests

import (
	"strings"
	"testing"
)

// TestFieldParameters boots by dracut's first form of a root, with a BOOTIF=
// that no card has, and with parameters of others: those that are obeyed, and
// those that are told.
func TestFieldParameters(t *testing.T) {
	t.Parallel()
	s := newSite(t, Suites[0])
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{RootPath: "10.77.0.9:/not/this\n"})
	g := s.boot(probeParams+" root="+ServerAddr+":"+s.tree+":vers=3 BOOTIF=01-02-00-00-00-be-ef nameserver=10.77.0.98 rd.peerdns=0"+
		" rd.route=10.88.0.0/16:"+ServerAddr+" rd.driver.pre=e1000 bridge=br0:eth0 rd.shell netroot=iscsi:u:geheim@10.0.0.1::::iqn.x rd.neednet=1 net.ifnames=0",
		GuestOptions{})
	s.same(g, []answer{
		{"sed -n 's/.* \\/ro nfs .*\\(vers=[0-9.]*\\).*/\\1/p' /proc/mounts", "vers=3"},
		{"grep ^nameserver /etc/resolv.conf", "nameserver 10.77.0.98"},
		{"ip -4 route show 10.88.0.0/16", "10.88.0.0/16 via " + ServerAddr + " dev eth0"},
		{"cat /sys/class/net/eth0/operstate", "up"},
		{"test -d /sys/module/e1000 && echo loaded", "loaded"},
	})
	report := s.report(g)
	if report.Network.Device != "eth0" || report.Attempts != 1 || !strings.Contains(report.Root.Source, ServerAddr+":") {
		t.Errorf("%+v, %d attempts, root %s", report.Network, report.Attempts, report.Root.Source)
	}
	for _, text := range []string{
		"no NIC has the MAC 02:00:00:00:be:ef, which the firmware booted from (BOOTIF=), only eth0: any NIC is used",
		`"bridge" is not supported: no bridge is made`, `"rd.shell" is not supported: use sidus.onerror=shell`, "netroot= is ignored: it is not an NFS root",
	} {
		if !strings.Contains(g.Console(), text) {
			t.Errorf("the console does not say %q", text)
		}
	}
	for _, text := range []string{"sidusboot: \"rd.neednet", "sidusboot: \"net.ifnames", "has control characters"} {
		s.silent(g, text)
	}
	if notes := strings.Join(report.Notes, "; "); strings.Contains(notes, "geheim") || len(report.Notes) != 3 {
		t.Errorf("notes %q", notes)
	}
}

// TestBehindUSB has a card on PCI without a cable, and DHCP behind a card on USB,
// whose controller's driver is not loaded at first. Then the same where the card
// on PCI has a link and no server answers.
func TestBehindUSB(t *testing.T) {
	t.Parallel()
	s := newSite(t, Suites[0])
	s.nfs(Export{}, NFSOptions{})
	const usbMAC = "52:54:00:77:01:05"
	if _, err := s.StartDHCP(s.ctx, DHCPOptions{Hosts: []DHCPHost{{MAC: usbMAC, Addr: NodeAddr, Name: NodeName}}}); err != nil {
		t.Fatal(err)
	}
	image, err := BuildImage(s.ctx, s.tree, "--profile=generic")
	if err != nil {
		t.Fatal(err)
	}
	for name, eth0 := range map[string]NIC{"noCable": {LinkDown: true}, "noServer": {Detached: true}} {
		t.Run(name, func(t *testing.T) {
			s := s.with(t)
			g := s.boot(probeParams+" "+s.root("vers=3"), GuestOptions{Initrd: image, NICs: []NIC{eth0, {Model: USBNet, MAC: usbMAC}}})
			defer g.Kill()
			s.says(g, "no address so far: also loaded ")
			report := s.report(g)
			if report.Network.MAC != g.MAC(1) || !strings.HasPrefix(report.Network.Address, NodeAddr+"/") || report.Attempts != 1 {
				t.Errorf("%+v, %d attempts", report.Network, report.Attempts)
			}
			if !strings.Contains(g.Console(), "trying") {
				t.Error("the console does not say what is tried")
			}
		})
	}
}

// TestNamedByPlace calls the card by the name that it has on an installed
// machine: udev's, of the slot.
func TestNamedByPlace(t *testing.T) {
	t.Parallel()
	s := newSite(t, Suites[1])
	s.nfs(Export{}, NFSOptions{})
	if _, err := s.StartDHCP(s.ctx, DHCPOptions{Hosts: []DHCPHost{{MAC: MAC(2), Addr: NodeAddr, Name: NodeName}}}); err != nil {
		t.Fatal(err)
	}
	g := s.boot(probeParams+" "+s.root("vers=3")+" ip=ens4:dhcp", GuestOptions{NICs: []NIC{{}, {}}})
	s.same(g, []answer{
		{"ip -o -4 addr show dev ens4 | awk '{ print $4 }'", NodeAddr + "/24"},
		{"cat /sys/class/net/ens4/address", g.MAC(1)},
		{"grep -c OriginalName=ens4 /run/systemd/network/00--sidusboot.link", "1"},
		{"udevadm test-builtin net_id /sys/class/net/ens4 2>/dev/null | grep ID_NET_NAME_", "ID_NET_NAME_MAC=enx525400770002\nID_NET_NAME_PATH=enp0s4\nID_NET_NAME_SLOT=ens4"},
	})
}
