package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Capture records what passes the bridge with tcpdump, as far as the filter
// lets it, until the server is stopped. The packets are in the file path,
// which ReadCapture prints and SaveLogs does not save.
func (l *Lab) Capture(ctx context.Context, filter string) (s *Server, path string, err error) {
	path = filepath.Join(labDir, l.name("packets")+".pcap")
	// On a bridge a frame may have 64 KiB; the buffer holds a second's worth on a
	// busy machine.
	argv := []string{"tcpdump", "--immediate-mode", "-s", "70000", "-B", "65536", "-U", "-n", "-Z", "root", "-i", bridge, "-w", path}
	if filter != "" {
		argv = append(argv, filter)
	}
	s, err = l.Start(ctx, Program{
		Name: "tcpdump",
		Argv: argv,
		Ready: func(context.Context) error {
			// The header is written when tcpdump listens.
			info, err := os.Stat(l.Path(path))
			if err == nil && info.Size() == 0 {
				err = fmt.Errorf("%s is empty", path)
			}
			return err
		},
	})
	return s, path, err
}

// ReadCapture returns the recorded packets, one a line.
func (l *Lab) ReadCapture(ctx context.Context, path string) ([]string, error) {
	out, err := l.Output(ctx, "tcpdump", "-n", "-tt", "-r", path)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSpace(out), "\n"), nil
}
