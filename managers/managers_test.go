package managers

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// card is what most nodes have.
var card = NIC{
	Device: "eth0", Index: 2, MAC: net.HardwareAddr{0x52, 0x54, 0, 0x77, 0, 1},
	Addrs: []netip.Prefix{prefix("10.77.0.11/24")}, Broadcast: addr("10.77.0.255"),
	Routes: []Route{
		{Dst: prefix("10.88.0.0/16"), Gateway: addr("10.77.0.9")},
		{Dst: prefix("169.254.0.0/16")},
		{Dst: prefix("0.0.0.0/0"), Gateway: addr("192.0.2.1")},
	},
	DNS: []netip.Addr{addr("10.77.0.1"), addr("10.77.0.53")}, Search: []string{"a.test", "b.test"},
}

// advice is what a node says that has one.
var advice = Advice{NICs: []NIC{card}}

// file is one of the files of a NIC.
func file(t *testing.T, files []File, path string) File {
	t.Helper()
	for _, f := range files {
		if f.Path == path {
			return f
		}
	}
	t.Errorf("there is no %s", path)
	return File{}
}

func same(t *testing.T, f File, want string) {
	t.Helper()
	if diff := cmp.Diff(want, f.Text); diff != "" {
		t.Errorf("%s: %s", f.Path, diff)
	}
}

func TestNetworkd(t *testing.T) {
	same(t, file(t, advice.Files(), "/run/systemd/network/00--sidusboot-eth0.network"), `# Written by sidusboot at every boot: the root file system needs this NIC.
[Match]
MACAddress=52:54:00:77:00:01
Name=eth0

[Network]
DHCP=no
KeepConfiguration=yes
ConfigureWithoutCarrier=yes
IgnoreCarrierLoss=yes
DNS=10.77.0.1
DNS=10.77.0.53
Domains=a.test b.test

[IPv6AcceptRA]
DHCPv6Client=no

[Address]
Address=10.77.0.11/24
Broadcast=10.77.0.255

[Route]
Destination=10.88.0.0/16
Protocol=boot
Gateway=10.77.0.9

[Route]
Destination=169.254.0.0/16
Protocol=boot
Scope=link

[Route]
Destination=0.0.0.0/0
Protocol=boot
Gateway=192.0.2.1
GatewayOnLink=yes
`)
}

func TestNetworkManager(t *testing.T) {
	files := advice.Files()
	profile := file(t, files, "/run/NetworkManager/system-connections/sidusboot-eth0.nmconnection")
	same(t, profile, `# Written by sidusboot at every boot: the root file system needs this NIC.
[connection]
id=sidusboot eth0
uuid=d1b9a1c4-5b0e-4f0a-9a53-51d05b000002
type=ethernet
interface-name=eth0
autoconnect-priority=999
autoconnect-retries=0

[ethernet]
cloned-mac-address=preserve

[ipv4]
method=manual
route-metric=0
address1=10.77.0.11/24
route1=10.88.0.0/16,10.77.0.9
route2=169.254.0.0/16
route3=0.0.0.0/0,192.0.2.1
route3_options=onlink=true
dns=10.77.0.1;10.77.0.53;
dns-search=a.test;b.test;
dad-timeout=0

[ipv6]
method=auto
addr-gen-mode=eui64
`)
	if profile.Mode != 0o600 {
		t.Errorf("mode %v: NetworkManager ignores a profile that others may read", profile.Mode)
	}
	same(t, file(t, files, "/run/NetworkManager/devices/2"), "[device]\nmanaged=true\nconnection-uuid=d1b9a1c4-5b0e-4f0a-9a53-51d05b000002\nnm-owned=false\n")
	same(t, file(t, files, "/run/NetworkManager/conf.d/sidusboot.conf"), written+"[device-sidusboot-eth0]\nmatch-device=interface-name:eth0\nkeep-configuration=yes\nignore-carrier=yes\n")
}

// A node that boots by IPv6 has both families, or one.
func TestIPv6(t *testing.T) {
	nic := NIC{
		Device: "eth0", MAC: card.MAC, Addrs: []netip.Prefix{prefix("2001:db8::7/64")},
		Routes: []Route{{Dst: prefix("::/0"), Gateway: addr("fe80::1")}}, DNS: []netip.Addr{addr("2001:db8::53")},
	}
	network := file(t, Advice{NICs: []NIC{nic}}.Files(), "/run/systemd/network/00--sidusboot-eth0.network").Text
	for _, want := range []string{"\nAddress=2001:db8::7/64\n", "\nDestination=::/0\nProtocol=boot\nMetric=1025\nGateway=fe80::1\n", "\nDNS=2001:db8::53\n"} {
		t.Run(want, func(t *testing.T) {
			if !strings.Contains(network, want) {
				t.Errorf("the .network lacks %q:\n%s", want, network)
			}
		})
	}
	// The router's address is on every link.
	if strings.Contains(network, "GatewayOnLink") || strings.Contains(network, "Broadcast") {
		t.Errorf("the .network has what is for IPv4:\n%s", network)
	}
	profile := file(t, Advice{NICs: []NIC{nic}}.Files(), "/run/NetworkManager/system-connections/sidusboot-eth0.nmconnection").Text
	if want := "\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=manual\nroute-metric=0\naddress1=2001:db8::7/64\nroute1=::/0,fe80::1\ndns=2001:db8::53;\naddr-gen-mode=eui64\n"; !strings.HasSuffix(profile, want) {
		t.Errorf("the profile is\n%s, want at its end\n%s", profile, want)
	}
	nic.Addrs, nic.DNS = append(nic.Addrs, card.Addrs...), append(nic.DNS, card.DNS...)
	profile = file(t, Advice{NICs: []NIC{nic}}.Files(), "/run/NetworkManager/system-connections/sidusboot-eth0.nmconnection").Text
	for _, want := range []string{
		"\n[ipv4]\nmethod=manual\nroute-metric=0\naddress1=10.77.0.11/24\ndns=10.77.0.1;10.77.0.53;\n",
		"\n[ipv6]\nmethod=manual\nroute-metric=0\naddress1=2001:db8::7/64\nroute1=::/0,fe80::1\ndns=2001:db8::53;\n",
	} {
		if !strings.Contains(profile, want) {
			t.Errorf("the profile is\n%s, want in it\n%s", profile, want)
		}
	}
}

// A VLAN stands on devices that are to be left alone too.
func TestAlone(t *testing.T) {
	vlan := card
	vlan.Device, vlan.Virtual = "bond0.5", true
	files := Advice{NICs: []NIC{vlan}, Alone: []string{"bond0", "eth0", "eth-1"}}.Files()
	same(t, file(t, files, "/run/systemd/network/00--sidusboot.network"), written+"[Match]\nName=bond0 eth0 eth-1\n\n[Link]\nUnmanaged=yes\n")
	same(t, file(t, files, "/run/NetworkManager/conf.d/sidusboot.conf"), written+
		"[device-sidusboot-bond0.5]\nmatch-device=interface-name:bond0.5\nkeep-configuration=yes\nignore-carrier=yes\n\n"+
		"[device-sidusboot]\nmatch-device=interface-name:bond0,interface-name:eth0,interface-name:eth-1\nmanaged=0\n")
	same(t, file(t, files, "/run/network/ifstate"), "bond0.5=bond0.5\nbond0=bond0\neth0=eth0\neth-1=eth-1\n")
	same(t, file(t, files, "/run/network/ifstate.bond0.5"), "bond0.5\n")
	for _, device := range []string{"bond0.5", "bond0", "eth0", `eth\x2d1`} {
		t.Run(device, func(t *testing.T) {
			same(t, file(t, files, "/run/systemd/system/ifup@"+device+".service.d/sidusboot.conf"), written+"[Service]\nExecStop=\n")
		})
	}
	for _, f := range files {
		if strings.Contains(f.Path, "system-connections") || strings.Contains(f.Path, "NetworkManager/devices") {
			t.Errorf("%s is for cards only", f.Path)
		}
	}
}

// Each NIC has files and a profile of its own.
func TestTwoNICs(t *testing.T) {
	other := card
	other.Device, other.Index, other.Addrs = "eth1", 3, []netip.Prefix{prefix("10.78.0.11/24")}
	// Its default route is not to win over the boot NIC's.
	other.Metric = 1027
	files := Advice{NICs: []NIC{card, other}}.Files()
	seen := map[string]bool{}
	for _, f := range files {
		if seen[f.Path] {
			t.Errorf("%s is given twice", f.Path)
		}
		seen[f.Path] = true
	}
	for _, path := range []string{"/run/systemd/network/00--sidusboot-eth1.network", "/run/NetworkManager/system-connections/sidusboot-eth1.nmconnection"} {
		text := file(t, files, path).Text
		if !strings.Contains(text, "10.78.0.11/24") || strings.Contains(text, "10.77.0.11") || !strings.Contains(strings.ToLower(text), "metric=1027\n") {
			t.Errorf("%s: %s", path, text)
		}
	}
	if one, two := file(t, files, "/run/NetworkManager/devices/2").Text, file(t, files, "/run/NetworkManager/devices/3").Text; one == two {
		t.Errorf("one connection for both: %s", one)
	}
}

// Domains come by DHCP from whoever answers: none makes a line of its own.
func TestHostileDomains(t *testing.T) {
	nic := card
	nic.Search = []string{"a.test\n[Service]\nExecStart=/bin/x", "good.test", "x;y", "", "-o", "ü.test"}
	for _, f := range (Advice{NICs: []NIC{nic}}).Files() {
		if strings.Contains(f.Text, "ExecStart") || strings.Contains(f.Text, "x;y") || strings.Contains(f.Text, "ü") {
			t.Errorf("%s: %s", f.Path, f.Text)
		}
	}
	if text := file(t, Advice{NICs: []NIC{nic}}.Files(), "/run/systemd/network/00--sidusboot-eth0.network").Text; !strings.Contains(text, "\nDomains=good.test\n") {
		t.Errorf("the good one is gone: %s", text)
	}
}

func TestNetworking(t *testing.T) {
	const head = written + "[Service]\nExecStartPre=-/bin/sh /run/network/sidusboot-names\nExecStop=\n"
	for name, test := range map[string]struct{ unit, want string }{
		"none":       {"", ""},
		"no command": {"[Service]\nExecStart=/sbin/ifup -a\nExecStop=\n", ""},
		"Debian 12": {"[Service]\nExecStop=/sbin/ifdown -a --read-environment --exclude=lo\nExecStopPost=/usr/bin/touch /run/network/restart-hotplug\n",
			head + "ExecStop=/bin/sh -c 'exec /sbin/ifdown -a --read-environment --exclude=lo $$(cat /run/network/sidusboot-excluded)'\n"},
		"prefix, continued": {"[Service]\nExecStop=/bin/false\nExecStop=\n ExecStop = -/usr/sbin/ifdown \\\n  -a\n",
			head + "ExecStop=/bin/sh -c 'exec /usr/sbin/ifdown    -a $$(cat /run/network/sidusboot-excluded)'\n"},
		"ifupdown2":    {"[Service]\nExecStop=/usr/share/ifupdown2/sbin/start-networking stop\n", head},
		"one NIC only": {"[Service]\nExecStop=/sbin/ifdown eth1\n", head},
		"quotes":       {"[Service]\nExecStop=/sbin/ifdown -a 'x'\n", head},
	} {
		t.Run(name, func(t *testing.T) {
			files := advice.Networking(test.unit)
			if test.want == "" {
				if files != nil {
					t.Errorf("%v, want no file", files)
				}
				return
			}
			same(t, file(t, files, "/run/systemd/system/networking.service.d/sidusboot.conf"), test.want)
			same(t, file(t, files, "/run/network/sidusboot-excluded"), "--exclude=eth0\n")
		})
	}
}

// The script finds the names that ip(8) shows, and adds each once.
func TestNamesScript(t *testing.T) {
	dir := t.TempDir()
	script := file(t, advice.Networking("[Service]\nExecStop=/sbin/ifdown -a\n"), "/run/network/sidusboot-names").Text
	script = strings.ReplaceAll(script, "/run/network", dir)
	const ip = `#!/bin/sh
[ "$*" = "-o link show dev eth0" ] || exit 1
echo '2: eth0: <UP> mtu 1500 state UP \    link/ether 52:54:00:77:00:01 brd ff:ff:ff:ff:ff:ff\    altname enp0s3\    altname ens3'
`
	for name, text := range map[string]string{"ip": ip, "ifstate": "eth0=eth0\n", "sidusboot-excluded": "--exclude=eth0\n"} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // As at a restart.
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for name, want := range map[string]string{
		"ifstate": "eth0=eth0\nenp0s3=enp0s3\nens3=ens3\n", "ifstate.enp0s3": "enp0s3\n", "ifstate.ens3": "ens3\n",
		"sidusboot-excluded": "--exclude=eth0\n--exclude=enp0s3\n--exclude=ens3\n",
	} {
		if b, err := os.ReadFile(dir + "/" + name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v, want %q", name, b, err, want)
		}
	}
}

func TestDenyInterfaces(t *testing.T) {
	const line = edited + "denyinterfaces eth0\n"
	for name, test := range map[string]struct {
		old, devices, want string
	}{
		"no file":                 {"", "eth0", line},
		"plain":                   {"duid\n", "eth0", line + "duid\n"},
		"no newline at the end":   {"duid", "eth0", line + "duid"},
		"the same again":          {line + "duid\n", "eth0", line + "duid\n"},
		"another NIC":             {edited + "denyinterfaces eth1 eth2\nduid\n", "eth0", line + "duid\n"},
		"an earlier version's":    {"# sidusboot, at every boot: the root hangs on the NIC, leave it alone.\ndenyinterfaces eth1\nduid\n", "eth0", line + "duid\n"},
		"moved by hand":           {"duid\n" + line + "persistent\n", "eth0", line + "duid\npersistent\n"},
		"the administrator's own": {"denyinterfaces eth1\n", "eth0", line + "denyinterfaces eth1\n"},
		"our line taken out":      {edited + "duid\n", "eth0", line + "duid\n"},
		"undone":                  {line + "denyinterfaces eth1\n", "", "denyinterfaces eth1\n"},
		"nothing to undo":         {"denyinterfaces eth1", "", "denyinterfaces eth1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := denyInterfaces(test.old, strings.Fields(test.devices))
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if again := denyInterfaces(got, strings.Fields(test.devices)); again != got {
				t.Errorf("applied again: %q, want %q", again, got)
			}
		})
	}
}
