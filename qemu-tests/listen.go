package qemutests

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// listeners wait for QEMU to connect a guest's ports. QEMU calls us, not the
// other way round: so not a byte of what a guest says is lost.
type listeners map[string]*net.UnixListener

// listenAll makes one socket NAME.sock in dir for each name.
//
// A socket's name has room for 107 bytes; dir is bound through a short link of
// this process's own file table.
func listenAll(dir string, names ...string) (listeners, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l := listeners{}
	for _, name := range names {
		path := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", d.Fd()), name+".sock")
		l[name], err = net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			delete(l, name)
			l.close()
			return nil, err
		}
		l[name].SetUnlinkOnClose(false)
	}
	return l, nil
}

func (l listeners) close() {
	for _, listener := range l {
		listener.Close()
	}
}

// accept takes one connection on each socket. It gives up when done closes.
func (l listeners) accept(ctx context.Context, done <-chan struct{}) (map[string]net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultPatience)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-ctx.Done():
		case <-done:
		case <-stop:
			return
		}
		l.close()
	}()
	conns := map[string]net.Conn{}
	for name, listener := range l {
		conn, err := listener.Accept()
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			if ctx.Err() == nil {
				err = errors.New("it ended at once")
			}
			return nil, fmt.Errorf("%s port: %w", name, err)
		}
		conns[name] = conn
	}
	return conns, nil
}
