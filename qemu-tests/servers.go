package qemutests

import "context"

// The node that StartServers expects: the lab's first NIC.
const (
	NodeAddr = "10.77.0.11"
	NodeName = "node11"
)

// Node is the reservation of the node that StartServers expects.
func Node() DHCPHost { return DHCPHost{MAC: MAC(1), Addr: NodeAddr, Name: NodeName} }

// StartServers runs what a node needs to boot: an NFS server with the export, and
// a DHCP server that knows the node. rootPath is DHCP option 17; empty: not sent.
func (l *Lab) StartServers(ctx context.Context, export Export, rootPath string) error {
	if _, err := l.StartNFS(ctx, NFSOptions{Exports: []Export{export}}); err != nil {
		return err
	}
	_, err := l.StartDHCP(ctx, DHCPOptions{
		Hosts:  []DHCPHost{Node()},
		Router: ServerAddr, Domain: "sidus.test", RootPath: rootPath, NextServer: ServerAddr,
	})
	return err
}
