package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
	"github.com/sidusboot/sidusboot/qemu-tests/wire"
)

// A run is what it took to serve a number of nodes that begin at one moment.
type run struct {
	Server string  `json:"server"` // ganesha or nfsd
	Tree   string  `json:"tree"`   // plain or version
	Faster float64 `json:"faster"`
	Nodes  int     `json:"nodes"`
	// Lost are the nodes that the server has dropped.
	Lost int `json:"lost"`
	// Last, Median and First are when nodes had their last reply, in seconds.
	Last   float64 `json:"last_s"`
	Median float64 `json:"median_s"`
	First  float64 `json:"first_s"`
	// Slowest is the longest wait for one reply.
	Slowest float64 `json:"slowest_reply_s"`
	// Peak is the largest number of replies in one second.
	Peak    int64 `json:"peak_rpc_per_s"`
	Replies int64 `json:"replies"`
	Bytes   int64 `json:"bytes"`
	// Wrong are the replies with another status than the recorded one.
	Wrong int64 `json:"wrong"`
	// ServerCPU and OwnCPU are the processor seconds of the server and of the
	// program that plays the nodes.
	ServerCPU float64 `json:"server_cpu_s"`
	OwnCPU    float64 `json:"own_cpu_s"`

	wrongFirst, lostFirst string
}

// A target is a server that is to be asked, and its processor time.
type target struct {
	name string
	addr string
	cpu  func(context.Context) (time.Duration, error)
}

// receiveBuffer bounds the memory of a thousand connections.
const receiveBuffer = 256 << 10

// replay plays a recording by nodes connections, all from one moment on.
func replay(ctx context.Context, lab *qemutests.Lab, to target, r *wire.Recording, nodes int, pace float64) (run, error) {
	result := run{Server: to.name, Nodes: nodes}
	conns, err := connect(lab, to.addr, nodes)
	if err != nil {
		return result, err
	}
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	var all totals
	before, err := to.cpu(ctx)
	if err != nil {
		return result, err
	}
	own := ownCPU()
	players := make([]*node, nodes)
	took := make([]time.Duration, nodes)
	errs := make([]error, nodes)
	start := time.Now()
	var wait sync.WaitGroup
	for i := range players {
		players[i] = &node{conn: conns[i], r: r, pace: pace, xid: rand.Uint32(), all: &all}
		wait.Go(func() { took[i], errs[i] = players[i].play(ctx, start) })
	}
	wait.Wait()
	result.OwnCPU = (ownCPU() - own).Seconds()
	after, err := to.cpu(ctx)
	if err != nil {
		return result, err
	}
	result.ServerCPU = (after - before).Seconds()
	result.fill(players, took, errs, &all)
	return result, ctx.Err()
}

func (r *run) fill(players []*node, took []time.Duration, errs []error, all *totals) {
	var served []time.Duration
	for i, err := range errs {
		if err != nil {
			r.Lost++
			r.lostFirst = err.Error()
			continue
		}
		served = append(served, took[i])
		r.Slowest = max(r.Slowest, players[i].slowest().Seconds())
	}
	slices.Sort(served)
	if len(served) > 0 {
		r.First, r.Median, r.Last = served[0].Seconds(), served[len(served)/2].Seconds(), served[len(served)-1].Seconds()
	}
	r.Bytes, r.Wrong = all.bytes.Load(), all.wrong.Load()
	for i := range all.perSecond {
		n := all.perSecond[i].Load()
		r.Replies += n
		r.Peak = max(r.Peak, n)
	}
	if text := all.first.Load(); text != nil {
		r.wrongFirst = *text
	}
}

// connect opens connections to a server of the lab.
func connect(lab *qemutests.Lab, addr string, n int) (conns []net.Conn, err error) {
	err = lab.Inside(func() error {
		dialer := net.Dialer{Timeout: 30 * time.Second}
		for range n {
			c, err := dialer.Dial("tcp4", addr)
			if err != nil {
				return fmt.Errorf("connection %d: %w", len(conns)+1, err)
			}
			conns = append(conns, c)
			if err := c.(*net.TCPConn).SetReadBuffer(receiveBuffer); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, c := range conns {
			c.Close()
		}
		return nil, err
	}
	return conns, nil
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// openFiles lets this process have a connection for each node.
func openFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if limit.Cur >= n {
		return nil
	}
	limit.Cur, limit.Max = n, max(limit.Max, n)
	return os.NewSyscallError("setrlimit", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
}
