package config

import (
	"fmt"
	"strings"
	"testing"
)

// Each form of vlan=, bond= and ifname= with what dracut.cmdline(7) documents.
func TestStack(t *testing.T) {
	for in, want := range map[string]string{
		"vlan=vlan5:eth0":                   "[] [] [{vlan5 eth0 5}]",
		"vlan=vlan0005:eth0":                "[] [] [{vlan0005 eth0 5}]",
		"vlan=eth0.5:eth0 vlan=eth0.7:eth0": "[] [] [{eth0.5 eth0 5} {eth0.7 eth0 7}]",
		"vlan=bond0.0012:bond0":             "[] [] [{bond0.0012 bond0 12}]",
		"bond":                              "[] [{bond0 [eth0 eth1] [mode=balance-rr] 0}] []",
		"bond=bond0":                        "[] [{bond0 [eth0 eth1] [mode=balance-rr] 0}] []",
		"bond=lag:eth2,eth3":                "[] [{lag [eth2 eth3] [mode=balance-rr] 0}] []",
		"bond=lag:eth2,eth3:mode=802.3ad,lacp_rate=fast:9000":  "[] [{lag [eth2 eth3] [mode=802.3ad lacp_rate=fast] 9000}] []",
		"bond=lag:eth2:mode=1,arp_ip_target=10.0.0.1;10.0.0.2": "[] [{lag [eth2] [mode=1 arp_ip_target=10.0.0.1;10.0.0.2] 0}] []",
		"bond=lag:eth2::1500":          "[] [{lag [eth2] [mode=balance-rr] 1500}] []",
		"ifname=lan:52:54:00:12:34:56": "[{lan 52:54:00:12:34:56}] [] []",
	} {
		t.Run(in, func(t *testing.T) {
			c, err := Parse(in, "")
			if got := fmt.Sprint(c.Renames, c.Bonds, c.VLANs); err != nil || got != want {
				t.Errorf("Parse(%q) = %s, %v, want %s", in, got, err, want)
			}
		})
	}
}

func TestStackErrors(t *testing.T) {
	for in, want := range map[string]string{
		"vlan=eth0":                        "no device after the colon",
		"vlan=eth0.x:eth0":                 "does not end in the number",
		"vlan=eth0.0:eth0":                 "does not end in the number",
		"vlan=eth0.4095:eth0":              "does not end in the number",
		"vlan=eth0.99999999999999999:eth0": "not a device name",
		"vlan=eth0.5:":                     "not a device name",
		"vlan=eth5:eth5":                   "would be a VLAN of itself",
		"vlan=v5:eth0 vlan=v5:eth1":        "given twice",
		"bond=../x:eth0":                   "not a device name",
		"bond=b:eth0,,eth1":                "not a device name",
		"bond=b:b":                         "would be a member of itself",
		"bond=b:eth0:mode":                 "not an option",
		"bond=b:eth0:slaves=+eth1":         "not an option",
		"bond=b:eth0:../mode=1":            "not an option",
		"bond=b:eth0:mode=1,mode=2":        "given twice",
		"bond=b:eth0:mode=1:12":            "not an MTU",
		"bond=b:eth0:mode=1:1500:1":        "too many fields",
		"bond=b:eth0 bond=b:eth1":          "given twice",
		"bond=a:eth0 bond=b:eth0":          "is already in a",
		"ifname=eth0":                      "not a MAC address",
		"ifname=e/0:52:54:00:12:34:56":     "not a device name",
		"ifname=a:52:54:00:12:34:56 ifname=b:52:54:00:12:34:56": "is already given",
		"bootdev=":               "not a device name",
		"sidus.nic=driver=":      "not the name of a driver",
		"sidus.nic=a/b":          "not a device name",
		"sidus.nic=eth0,eth1":    "not a device name",
		"sidus.nic=525400123456": "a MAC has colons",
		"vlan=eth0.5:eth0,eth1":  "not a device name",
		"sidus.dad=no":           "not known",
	} {
		t.Run(in, func(t *testing.T) {
			if _, err := Parse(in, ""); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Parse(%q) = %v, want %q", in, err, want)
			}
		})
	}
}

func FuzzStack(f *testing.F) {
	for _, s := range []string{"eth0.5:eth0", "b:eth0,eth1:mode=1,x=fd00::1:9000", "lan:52:54:00:12:34:56", "::::", "a:b:c=d:e:f:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var c Config
		for _, apply := range []func(*Config, arg) error{applyVLAN, applyBond, applyIfname} {
			_ = apply(&c, arg{value: s, valued: true})
		}
		for _, v := range c.VLANs {
			if checkDevice(v.Name) != nil || checkDevice(v.Parent) != nil || v.ID < 1 || v.ID > 4094 {
				t.Errorf("%+v", v)
			}
		}
		for _, b := range c.Bonds {
			for _, o := range b.Options {
				// It becomes the name of a file in sysfs.
				if name, _, _ := strings.Cut(o, "="); strings.ContainsAny(name, "/.") {
					t.Errorf("%+v", b)
				}
			}
		}
	})
}
