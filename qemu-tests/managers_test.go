//go:build qemu

package qemutests

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"
)

// wantsOnline is a service that wants the network, as many do.
const wantsOnline = `cat >/etc/systemd/system/wants-online.service <<'UNIT'
[Unit]
Description=Wants the network to be online
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true

[Install]
WantedBy=multi-user.target
UNIT
systemctl --quiet enable wants-online.service
`

// usualInterfaces is what an installer writes, for a NIC by the kernel's name
// and by the name that udev gives it besides.
const usualInterfaces = `cat >/etc/network/interfaces <<'TEXT'
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

auto eth0
allow-hotplug eth0
iface eth0 inet dhcp

auto enp0s3
iface enp0s3 inet dhcp
TEXT
`

// seededCloudInit has a data source without any network in it: cloud-init
// would make up one.
const seededCloudInit = `
printf 'datasource_list: [ NoCloud, None ]\nlocale: false\n' >/etc/cloud/cloud.cfg.d/90_test.cfg
mkdir -p /var/lib/cloud/seed/nocloud
echo 'instance-id: test' >/var/lib/cloud/seed/nocloud/meta-data
echo '#cloud-config' >/var/lib/cloud/seed/nocloud/user-data
`

const usualNetwork = `cat >/etc/systemd/network/20-wired.network <<'TEXT'
[Match]
Name=en* eth*

[Network]
DHCP=yes
TEXT
systemctl --quiet enable systemd-networkd.service
`

// ownProfile is a profile of the tree's own for the NIC, put in place where
// sidustest.profile is on the command line, with a setting that lets
// NetworkManager set up every NIC again when it starts.
const ownProfile = `mkdir -p /usr/share/sidusboot-test/nm/system-connections /usr/share/sidusboot-test/nm/conf.d
cat >/usr/share/sidusboot-test/nm/system-connections/eth0.nmconnection <<'TEXT'
[connection]
id=own
uuid=6a7b2f3e-9d8b-4a39-9d1c-0c7d2a2c6f11
type=ethernet
interface-name=eth0
autoconnect-priority=5

[ipv4]
method=auto

[ipv6]
method=auto
TEXT
chmod 600 /usr/share/sidusboot-test/nm/system-connections/eth0.nmconnection
printf '[device]\nkeep-configuration=no\n' >/usr/share/sidusboot-test/nm/conf.d/anew.conf
cat >/etc/systemd/system/own-profile.service <<'UNIT'
[Unit]
Description=Profile of the tree's own
ConditionKernelCommandLine=sidustest.profile
Before=NetworkManager.service

[Service]
Type=oneshot
ExecStart=/bin/cp -a /usr/share/sidusboot-test/nm/. /etc/NetworkManager/

[Install]
WantedBy=NetworkManager.service
UNIT
systemctl --quiet enable own-profile.service
`

// otherCard is a second NIC, which is the tree's manager's own.
var otherCard = NIC{MAC: MAC(2)}

// otherUp waits until the second NIC has an address.
const otherUp = `until ip -o -4 addr show | grep -v -e ' lo ' -e ' eth0 ' | grep -q 'inet 10.77.0'; do
	sleep 0.5
done
echo up`

// TestManagers boots trees with each of the network managers that want the NIC
// for themselves. None asks DHCP for it, gives it another address, touches its
// link or its routes; the network is online; the root outlives the manager's
// restart; other NICs are the manager's as ever; and the node ends in time.
func TestManagers(t *testing.T) {
	t.Parallel()
	Require(t)
	ifupdown := Variant{Suite: "bookworm", Packages: []string{"ifupdown", "isc-dhcp-client", "cloud-init"}, Script: wantsOnline + usualInterfaces + seededCloudInit}
	networkManager := Variant{Suite: "bookworm", Packages: []string{"network-manager"}, Script: wantsOnline + ownProfile}
	const connected = "nmcli -c no -t -f DEVICE,STATE,CONNECTION dev | grep -e ^eth -e ^bond | sort"
	const restartNM = "systemctl restart NetworkManager; nm-online -s -q -t 120; nmcli con reload; nmcli dev reapply eth0 >&2; sleep 2"
	for _, test := range []struct {
		name    string
		variant Variant
		params  string
		cards   []NIC
		// device has the address, eth0 where it is empty.
		device string
		// restart is what an administrator may do to the manager. It ends with a wait
		// where the manager may act after the command has returned: nothing may
		// happen then, and so there is nothing to wait for.
		restart string
		// cable: it is pulled for a while too.
		cable bool
		// soak: only in a soak.
		soak bool
		// says are commands and what they print, before the restart and after it.
		says []answer
		ends Reason
	}{
		{
			name: "ifupdown", variant: ifupdown, params: "ip=dhcp", ends: PoweredOff,
			// Another NIC goes down and up as it should.
			restart: `set -e; modprobe dummy numdummies=0; ip link add other type dummy
printf 'auto other\niface other inet static\naddress 10.78.0.1/24\n' >/etc/network/interfaces.d/other
systemctl restart networking ifup@eth0; ip -o -4 addr show dev other | grep 10.78.0.1/24 >&2
systemctl stop networking; ! ip -o -4 addr show dev other | grep 10.78.0.1/24 >&2; systemctl start networking
rm /etc/network/interfaces.d/other`,
			says: []answer{
				{"ifquery --state eth0; ifquery --state enp0s3", "eth0=eth0\nenp0s3=enp0s3"},
				{"systemctl is-active networking ifup@eth0", "active\nactive"},
				{"pgrep -c dhclient || true", "0"},
				{"journalctl -b -o cat -u networking -u ifup@eth0 | grep -c DHCP || true", "0"},
				{"cloud-init status --wait | tail -n 1", "status: done"},
				{"ls /etc/network/interfaces.d", ""},
				{"grep -c 'Applying network configuration' /var/log/cloud-init.log || true", "0"},
			},
		},
		{
			name: "ifupdownAlone", variant: ifupdown, params: "cloud-init=disabled", soak: true, ends: Rebooted,
			restart: "systemctl restart networking ifup@eth0",
			says:    []answer{{"systemctl is-active networking ifup@eth0", "active\nactive"}, {"pgrep -c dhclient || true", "0"}},
		},
		{
			name: "networkd", variant: Variant{Suite: "bookworm", Script: wantsOnline + usualNetwork},
			// systemd-network-generator makes a .network of this one.
			params: "ip=dhcp", cards: []NIC{{}, otherCard}, ends: Rebooted,
			restart: `systemctl restart systemd-networkd; networkctl reload; networkctl reconfigure eth0
/lib/systemd/systemd-networkd-wait-online --timeout=120`,
			says: []answer{
				{otherUp, "up"},
				{"networkctl -n 0 status eth0 | sed -n 's/^ *\\(Network File\\|State\\): //p'", "/run/systemd/network/00--sidusboot-eth0.network\nroutable (configured)"},
			},
		},
		{
			name: "NetworkManager", variant: networkManager, soak: true, params: "ip=dhcp sidustest.profile", cards: []NIC{{}, otherCard}, ends: PoweredOff,
			restart: restartNM, cable: true,
			says: []answer{
				{otherUp, "up"}, {"nmcli -c no -g STATE general", "connected"},
				{"nmcli -c no -g NAME con | grep own", "own"}, {connected + " | head -n 1", "eth0:connected:sidusboot eth0"},
			},
		},
		{
			name: "NetworkManagerWithoutProfile", variant: networkManager, soak: true, ends: Rebooted,
			restart: restartNM,
			says:    []answer{{"nmcli -c no -g STATE general", "connected"}, {connected, "eth0:connected:sidusboot eth0"}},
		},
		{
			name: "trixieNetworkManager", soak: true, variant: Variant{Suite: "trixie", Packages: []string{"network-manager"}, Script: wantsOnline + ownProfile},
			// The tree's profile is for a card below the bond.
			params: "sidustest.profile bond=bond0:eth0,eth1:mode=active-backup ip=bond0:dhcp", cards: []NIC{{}, otherCard}, device: "bond0",
			restart: "systemctl restart NetworkManager; nm-online -s -q -t 120; nmcli con reload; sleep 2", ends: PoweredOff,
			says: []answer{
				{connected, "bond0:connected (externally):bond0\neth0:unmanaged:\neth1:unmanaged:"},
				{"cat /sys/class/net/eth0/carrier_up_count /sys/class/net/eth1/carrier_up_count", "1\n1"},
			},
		},
		{
			name: "dhcpcd", soak: true, variant: Variant{Suite: "bookworm", Packages: []string{"dhcpcd"}, Script: wantsOnline},
			cards: []NIC{{}, otherCard}, ends: PoweredOff,
			restart: "systemctl restart dhcpcd; dhcpcd -n >&2; sleep 2",
			says: []answer{
				{otherUp, "up"},
				{"systemctl is-active dhcpcd", "active"},
				{"grep -c denyinterfaces /etc/dhcpcd.conf || true", "1"},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.soak {
				Soak(t)
			}
			// Its packages are not the site's time.
			if _, err := test.variant.Tree(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := newSiteOf(t, test.variant)
			s.nfs(Export{}, NFSOptions{})
			dhcp := s.dhcp(DHCPOptions{
				Router: ServerAddr, DNS: "10.77.0.1,10.77.0.53", Domain: "sidus.test", MTU: 1400, Lease: 2 * time.Hour,
				Extra: []string{
					"--dhcp-option=option:classless-static-route,10.88.0.0/16,10.77.0.9,10.99.0.0/16,0.0.0.0,0.0.0.0/0,192.0.2.1",
					"--dhcp-option=option:domain-search,a.test,b.test",
				},
			})
			g := s.boot(s.root("vers=3")+" "+EventParam+" "+AgentParam+" "+test.params, GuestOptions{NICs: test.cards})
			device := cmp.Or(test.device, "eth0")
			says := append([]answer{
				{"systemctl is-active network-online.target wants-online.service", "active\nactive"},
			}, test.says...)
			checkSystemd(s, g, nil)
			s.same(g, says)
			s.checkNIC(g, dhcp, device, 1)
			s.run(g, test.restart)
			s.same(g, says)
			s.checkNIC(g, dhcp, device, 1)
			if test.cable {
				s.pullCable(g, 15*time.Second)
				s.same(g, says)
				s.checkNIC(g, dhcp, device, 2)
			}
			checkSystemd(s, g, nil)
			verb := map[Reason]string{PoweredOff: "poweroff", Rebooted: "reboot"}[test.ends]
			order := "the test says " + verb
			s.orders(g, order, verb)
			s.ends(g, test.ends)
			s.stopped(g, order, shutdownTime)
		})
	}
}

// checkNIC checks that the NIC is as /init has left it, and that the root which
// depends on it can still be read from the server. ups is how often its link may
// have come up.
func (s *site) checkNIC(g *Guest, dhcp *Server, device string, ups int) {
	s.t.Helper()
	s.same(g, []answer{
		{"ip -4 -o addr show dev " + device + " | tr -s ' ' | cut -d ' ' -f 3-", `inet 10.77.0.11/24 brd 10.77.0.255 scope global ` + device + `\ valid_lft forever preferred_lft forever`},
		// NetworkManager sets the same ones again.
		{"ip -4 route show dev " + device + " | sed 's/ proto static//; s/ *$//' | sort -u", "10.77.0.0/24 proto kernel scope link src 10.77.0.11\n" +
			"10.88.0.0/16 via 10.77.0.9\n10.99.0.0/16 scope link\ndefault via 192.0.2.1 onlink"},
		{"cd /sys/class/net/" + device + "; cat address mtu", MAC(1) + "\n1400"},
		{"cat /sys/class/net/" + device + "/carrier_up_count", fmt.Sprint(ups)},
		{"echo 3 >/proc/sys/vm/drop_caches; sha256sum </ro/usr/bin/dpkg | cut -d ' ' -f 1", sum(s.t, s.tree+"/usr/bin/dpkg")},
	})
	// A second NIC may have more to say.
	if got := s.run(g, "cat /etc/resolv.conf"); !strings.Contains(got, "search a.test b.test\nnameserver 10.77.0.1\nnameserver 10.77.0.53") {
		s.t.Errorf("resolv.conf: %q", got)
	}
	for _, message := range []string{"DHCPDISCOVER", "DHCPREQUEST"} {
		asked := 0
		for line := range strings.Lines(dhcp.Log()) {
			if strings.Contains(line, message+"("+bridge+")") && strings.Contains(line, MAC(1)) {
				asked++
			}
		}
		if asked != 1 {
			s.t.Errorf("%d times %s by the NIC, want /init's alone", asked, message)
		}
	}
}

// pullCable takes the node's cable for a while, and waits another while after it
// is back: the managers may act then, and must not.
func (s *site) pullCable(g *Guest, away time.Duration) {
	s.t.Helper()
	for _, up := range []bool{false, true} {
		if err := g.SetLink(s.ctx, 0, up); err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(away)
		away = 2 * time.Second
	}
}

// TestLeaseOfTree boots a node that leaves its address to the tree: no manager is
// told anything, the lease is not renewed, and the NIC still keeps its name.
func TestLeaseOfTree(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	g := s.boot(probeParams+" "+s.root("vers=3")+" sidus.lease=tree", GuestOptions{})
	s.same(g, []answer{
		{"cd /run; ls -1 -d systemd/network/* systemd/system NetworkManager network initramfs 2>/dev/null || true", "initramfs\nsystemd/network/00--sidusboot.link"},
		{"cat /run/initramfs/leases", ""}, // The keeper is there, for the tree, and renews none.
	})
}

// TestManagersIPv6 boots by an address that a router's prefix made: networkd takes
// it over, keeps it through a restart, and loses no route.
func TestManagersIPv6(t *testing.T) {
	t.Parallel()
	Soak(t)
	variant := Variant{Suite: "bookworm", Script: wantsOnline + usualNetwork}
	if _, err := variant.Tree(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newSiteIn(t, variant, LabOptions{IPv6: true})
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{Extra: []string{"--enable-ra", "--dhcp-range=fd77::,ra-stateless"}})
	g := s.boot("nfsroot=["+ServerAddr6+"]:"+s.tree+" "+EventParam+" "+AgentParam, GuestOptions{})
	checkSystemd(s, g, nil)
	s.run(g, "systemctl restart systemd-networkd; networkctl reconfigure eth0; sleep 2")
	s.same(g, []answer{
		{uncached, "from the shared tree"},
		{"systemctl is-active network-online.target", "active"},
		{"networkctl -n 0 status eth0 | sed -n 's/^ *State: //p'", "routable (configured)"},
		{"ip -4 -o addr show dev eth0; ip -6 route get 2001:db8::1 | grep -o 'via fe80:'", "via fe80:"},
		{"ip -6 -o addr show dev eth0 scope global | grep -o 'fd77.*/64\\|valid_lft [^ ]*'", "fd77::5054:ff:fe77:1/64\nvalid_lft forever"},
		{"cat /sys/class/net/eth0/carrier_up_count", "1"},
	})
	s.orders(g, "", "reboot")
	s.ends(g, Rebooted)
}
