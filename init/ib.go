package main

import (
	"context"
	"time"

	"github.com/sidusboot/sidusboot/network"
)

// ibTime is how long the InfiniBand devices are waited for. The root file system
// does not depend on them: a node without them boots, and reports it.
const ibTime = 20 * time.Second

// ibModules make network devices of InfiniBand cards. mlx4_core asks for
// mlx4_ib by request_module, which an initramfs does not answer.
var ibModules = []string{"mlx4_ib", "ib_ipoib"}

// startIB gives InfiniBand devices their addresses, made of the node's own, in the
// background.
func (n *node) startIB() {
	own := n.lease.Addr.Addr()
	if len(n.cfg.IBs) == 0 || n.ibOwn == own {
		return
	}
	// An earlier attempt may have had another address.
	before, done := n.ib, make(chan struct{})
	n.ib, n.ibOwn = done, own
	n.background(func() {
		defer close(done)
		if before != nil {
			<-before
		}
		for _, module := range ibModules {
			if !n.system.loader.Has(module) {
				continue
			}
			if err := n.system.loader.Load(module); err != nil {
				n.log.Errorf("sidus.ib=: %v", err)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), ibTime)
		defer cancel()
		for _, ib := range n.cfg.IBs {
			addr, err := ib.Address(own)
			if err == nil {
				err = network.SetAddress(ctx, ib.Device, addr)
			}
			if err != nil {
				n.log.Errorf("sidus.ib=: %v", err)
				continue
			}
			n.log.Noticef("%s has %s (sidus.ib=)", ib.Device, addr)
		}
	})
}

// awaitIB waits until startIB's work is done.
func (n *node) awaitIB() {
	if n.ib != nil {
		n.waitFor("the InfiniBand devices of sidus.ib=")
		<-n.ib
	}
}
