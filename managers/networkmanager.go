package managers

import (
	"fmt"
	"strconv"
	"strings"
)

// connection is the UUID of a NIC's profile, the same on every node: it names
// a profile within one NetworkManager.
func (n NIC) connection() string {
	return fmt.Sprintf("d1b9a1c4-5b0e-4f0a-9a53-51d05b%06x", n.Index&0xffffff)
}

// networkManager makes NetworkManager believe that it has configured the NIC
// before: a profile with the same static configuration, and its own note of
// which profile was active on which device, which it reads when it starts. It
// then takes the NIC over as it is, "connected", and knows the name servers;
// profiles of the tree that fit the NIC too come second.
//
// A VLAN or a bond made by others needs no profile: it is "connected
// (externally)" and left alone, if the devices below it stay.
func (a Advice) networkManager() []File {
	const dir = "/run/NetworkManager/"
	files := []File{{Path: dir + "conf.d/sidusboot.conf", Mode: 0o644, Text: a.nmConf()}}
	for _, n := range a.NICs {
		if n.Virtual {
			continue
		}
		files = append(files,
			// One that others may read is refused.
			File{Path: dir + "system-connections/sidusboot-" + n.Device + ".nmconnection", Mode: 0o600, Text: n.nmProfile()},
			File{Path: fmt.Sprintf("%sdevices/%d", dir, n.Index), Mode: 0o644, Text: "[device]\nmanaged=true\nconnection-uuid=" + n.connection() + "\nnm-owned=false\n"},
		)
	}
	return files
}

// nmConf has sections for devices, which add to what the tree's own
// configuration says of others.
func (a Advice) nmConf() string {
	text := written
	for _, n := range a.NICs {
		text += "[device-sidusboot-" + n.Device + "]\nmatch-device=interface-name:" + n.Device + "\nkeep-configuration=yes\nignore-carrier=yes\n"
	}
	if len(a.Alone) > 0 {
		text += "\n[device-sidusboot]\nmatch-device=interface-name:" + strings.Join(a.Alone, ",interface-name:") + "\nmanaged=0\n"
	}
	return text
}

func (n NIC) nmProfile() string {
	var b strings.Builder
	b.WriteString(written)
	b.WriteString("[connection]\nid=sidusboot " + n.Device + "\nuuid=" + n.connection() + "\ntype=ethernet\ninterface-name=" + n.Device +
		"\nautoconnect-priority=999\nautoconnect-retries=0\n\n[ethernet]\ncloned-mac-address=preserve\n")
	v4, v6 := n.ofFamily(false), n.ofFamily(true)
	b.WriteString("\n[ipv4]\n")
	if len(v4) > 0 {
		n.nmFamily(&b, false)
		// It has been in use since long.
		b.WriteString("dad-timeout=0\n")
	} else {
		b.WriteString("method=disabled\n")
	}
	b.WriteString("\n[ipv6]\n")
	if len(v6) > 0 {
		n.nmFamily(&b, true)
	} else {
		b.WriteString("method=auto\n")
	}
	// As the kernel makes the link-local address that is there.
	b.WriteString("addr-gen-mode=eui64\n")
	return b.String()
}

// nmFamily is what [ipv4] and [ipv6] have in common (nm-settings-keyfile(5)).
// Without the metric NetworkManager would set each route a second time, with
// one of its own.
func (n NIC) nmFamily(b *strings.Builder, six bool) {
	b.WriteString("method=manual\nroute-metric=" + strconv.Itoa(n.Metric) + "\n")
	for i, a := range n.ofFamily(six) {
		fmt.Fprintf(b, "address%d=%s\n", i+1, a)
	}
	i := 0
	for _, r := range n.Routes {
		if r.Dst.Addr().Is6() != six {
			continue
		}
		i++
		fmt.Fprintf(b, "route%d=%s", i, r.Dst)
		if r.Gateway.IsValid() {
			b.WriteString("," + r.Gateway.String())
		}
		b.WriteString("\n")
		if r.Gateway.IsValid() && !n.onLink(r.Gateway) {
			fmt.Fprintf(b, "route%d_options=onlink=true\n", i)
		}
	}
	servers := ""
	for _, a := range n.DNS {
		if a.Is6() == six {
			servers += a.String() + ";"
		}
	}
	if servers != "" {
		b.WriteString("dns=" + servers + "\n")
	}
	if domains := n.domains(); len(domains) > 0 {
		b.WriteString("dns-search=" + strings.Join(domains, ";") + ";\n")
	}
}
