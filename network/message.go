package network

import (
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// newMessage is a message of this node with what every message has.
func newMessage(kind dhcpv4.MessageType, xid dhcpv4.TransactionID, mac net.HardwareAddr, o dhcpOptions, since time.Duration) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, ClientHWAddr: mac, TransactionID: xid,
		NumSeconds:   uint16(min(since.Seconds(), 0xffff)),
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.Options{},
	}
	m.Options[optMessageType] = []byte{byte(kind)}
	if o.clientID != "" {
		m.Options[optClientID] = []byte(o.clientID)
	}
	if kind == dhcpv4.MessageTypeDecline || kind == dhcpv4.MessageTypeRelease {
		return m // Which hold nothing more (RFC 2131, table 5).
	}
	m.Options[optParameters] = requestedOptions
	m.Options[optMaxSize] = []byte{maxMessage >> 8, maxMessage & 0xff}
	m.Options[optVendorClass] = []byte("sidusboot")
	if o.hostname != "" {
		m.Options[optHostName] = []byte(o.hostname)
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
	overload := m.Options[optOverload]
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
