package identity

import (
	"net/netip"
	"strings"

	"github.com/sidusboot/sidusboot/hostname"
)

// hostsMark ends the lines that are ours in /etc/hosts. A file that is kept from
// boot to boot may have such a line with another address.
const hostsMark = " # by sidusboot"

// Hosts adds to a hosts(5) a line for the node's own name, and one for localhost
// where there is none. Lines of an earlier boot are replaced.
func Hosts(old, name, domain string, addr netip.Addr) string {
	var b strings.Builder
	localhost := false
	for line := range strings.Lines(old) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasSuffix(line, hostsMark) {
			continue
		}
		fields := strings.Fields(line)
		localhost = localhost || len(fields) > 1 && fields[0] == "127.0.0.1"
		b.WriteString(line + "\n")
	}
	if !localhost {
		b.WriteString("127.0.0.1\tlocalhost" + hostsMark + "\n")
	}
	names := name
	if domain != "" && !strings.Contains(name, ".") && hostname.Valid(domain) {
		names = name + "." + domain + " " + name
	}
	return b.String() + addr.String() + "\t" + names + hostsMark + "\n"
}
