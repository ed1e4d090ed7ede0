package network

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/network/rtnetlink"
)

// httpClass is the vendor class of a firmware that boots by HTTP, and httpArch its
// architecture (UEFI 2.10, section 24.7; option 93 in the list of IANA).
func httpClass() (class string, arch byte) {
	arch = 16
	if runtime.GOARCH == "arm64" {
		arch = 19
	}
	return fmt.Sprintf("HTTPClient:Arch:%05d:UNDI:003001", arch), arch
}

// informTries is how often BootURL asks; a server that answers does so at once.
const informTries = 2

// BootURL asks the DHCP servers for the URL that they give to a firmware which boots by
// HTTP (boot file name, option 67), on the link of a lease that is in use. It sends
// DHCPINFORM (RFC 2131, section 3.4), which changes no lease. Empty: within 1.5 s none
// gave a URL.
func BootURL(ctx context.Context, l *Lease) (string, error) {
	if !l.Addr.Addr().Is4() || len(l.MAC) != 6 {
		return "", errors.New("only IPv4 over Ethernet has it")
	}
	link, err := rtnetlink.ByName(l.Device)
	if err != nil {
		return "", err
	}
	conn, err := openPacket(link.Index, unix.ETH_P_IP, toPort(clientPort))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	c := &dhcpClient{conn: conn, mac: l.MAC, device: l.Device, opts: dhcpOptions{clientID: l.ClientID}, start: time.Now(), xid: newXID()}
	m := c.message(dhcpv4.MessageTypeInform)
	m.ClientIPAddr = l.Addr.Addr().AsSlice()
	class, arch := httpClass()
	m.Options[optVendorClass] = []byte(class)
	m.Options[optArchitecture] = []byte{0, arch}
	m.Options[optParameters] = []byte{optVendorClass, optBootFile}
	url := ""
	for i := range informTries {
		// Another server than that of the lease may be the one that knows.
		_, err = c.ask(ctx, m, firstAnswer/2<<i, func(answer *dhcpv4.DHCPv4) bool {
			url = bootURLOf(answer)
			return url != ""
		})
		if err != nil || url != "" {
			break
		}
	}
	return url, err
}

// bootURLOf is the URL in a server's answer, or empty.
func bootURLOf(answer *dhcpv4.DHCPv4) string {
	if messageType(answer) != dhcpv4.MessageTypeAck {
		return ""
	}
	for _, file := range []string{textOf(answer, optBootFile), answer.BootFileName} {
		if file = cleanText(file); strings.Contains(file, "://") {
			return file
		}
	}
	return ""
}
