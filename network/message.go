package network

import (
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// requestedOptions are the options that a server is asked for.
var requestedOptions = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask,           // 1
	dhcpv4.OptionClasslessStaticRoute, // 121, to be named before 3 and 33 (RFC 3442)
	dhcpv4.OptionRouter,               // 3
	dhcpv4.OptionStaticRoutingTable,   // 33
	dhcpv4.OptionDomainNameServer,     // 6
	dhcpv4.OptionHostName,             // 12
	dhcpv4.OptionDomainName,           // 15
	dhcpv4.OptionRootPath,             // 17
	dhcpv4.OptionInterfaceMTU,         // 26
	dhcpv4.OptionBroadcastAddress,     // 28
	dhcpv4.OptionNTPServers,           // 42
	dhcpv4.OptionRenewTimeValue,       // 58
	dhcpv4.OptionRebindingTimeValue,   // 59
	dhcpv4.OptionDNSDomainSearchList,  // 119
}

// newMessage is a message of this node with what every message has.
func newMessage(kind dhcpv4.MessageType, xid dhcpv4.TransactionID, mac net.HardwareAddr, o dhcpOptions, since time.Duration) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, ClientHWAddr: mac, TransactionID: xid,
		NumSeconds:   uint16(min(since.Seconds(), 0xffff)),
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.Options{},
	}
	m.UpdateOption(dhcpv4.OptMessageType(kind))
	if o.clientID != "" {
		m.UpdateOption(dhcpv4.OptClientIdentifier([]byte(o.clientID)))
	}
	if kind == dhcpv4.MessageTypeDecline || kind == dhcpv4.MessageTypeRelease {
		return m // Which hold nothing more (RFC 2131, table 5).
	}
	m.UpdateOption(dhcpv4.OptParameterRequestList(requestedOptions...))
	m.UpdateOption(dhcpv4.OptMaxMessageSize(maxMessage))
	m.UpdateOption(dhcpv4.OptClassIdentifier("sidusboot"))
	if o.hostname != "" {
		m.UpdateOption(dhcpv4.OptHostName(o.hostname))
	}
	return m
}

// maxMessage is the largest DHCP message that is taken, IP and UDP headers
// included: a whole Ethernet frame.
const maxMessage = 1500

// parseReply reads a server's message. It is nil for one that is not for this node
// and transaction.
func parseReply(b []byte, xid dhcpv4.TransactionID, mac net.HardwareAddr) *dhcpv4.DHCPv4 {
	m := parseMessage(b)
	if m == nil || m.OpCode != dhcpv4.OpcodeBootReply || m.TransactionID != xid || m.ClientHWAddr.String() != mac.String() {
		return nil
	}
	return m
}

// Where the fixed fields sname and file lie in a message (RFC 2131, figure 1).
const (
	snameOffset, snameEnd = 44, 108
	fileOffset, fileEnd   = 108, 236
)

// parseMessage recovers from a panic of the library: a hostile server must not end
// PID 1. Options that did not fit are taken from the fields that option 52 names.
func parseMessage(b []byte) (m *dhcpv4.DHCPv4) {
	defer func() {
		if recover() != nil {
			m = nil
		}
	}()
	m, err := dhcpv4.FromBytes(b)
	if err != nil {
		return nil
	}
	const inFile, inSName = 1, 2
	overload := m.Options.Get(dhcpv4.OptionOptionOverload)
	if len(overload) != 1 || len(b) < fileEnd {
		return m
	}
	if overload[0]&inFile != 0 {
		addOptions(m, b[fileOffset:fileEnd])
		m.BootFileName = ""
	}
	if overload[0]&inSName != 0 {
		addOptions(m, b[snameOffset:snameEnd])
		m.ServerHostName = ""
	}
	return m
}

// addOptions adds what is not there yet.
func addOptions(m *dhcpv4.DHCPv4, field []byte) {
	more := dhcpv4.Options{}
	if err := more.FromBytes(field); err != nil {
		return
	}
	for code, value := range more {
		if _, ok := m.Options[code]; !ok {
			m.Options[code] = value
		}
	}
}
