package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An HTTPServer is Debian's lighttpd, which offers a directory inside the lab.
type HTTPServer struct {
	*Server
	access string // The file with the requests.
}

// lighttpdConfig offers a directory as docs/loaders.md says, and keeps what was asked
// for.
const lighttpdConfig = `server.document-root = "%s"
server.port = 80
mimetype.assign = ( ".efi" => "application/efi", "" => "application/octet-stream" )
server.pid-file = "%s"
server.modules = ( "mod_accesslog" )
accesslog.filename = "%s"
accesslog.format = "%%m %%U"
`

// StartHTTP offers a directory of the host by HTTP, on port 80 of every address.
func (l *Lab) StartHTTP(ctx context.Context, dir string) (*HTTPServer, error) {
	name := l.name("http")
	access := filepath.Join(labDir, name+".access")
	config, err := l.writeFile(name+".conf", fmt.Sprintf(lighttpdConfig, dir, filepath.Join(labDir, name+".pid"), access))
	if err != nil {
		return nil, err
	}
	s, err := l.Start(ctx, Program{Name: "lighttpd", Argv: []string{"lighttpd", "-D", "-f", config}, Ready: l.listening(80)})
	if err != nil {
		return nil, err
	}
	return &HTTPServer{Server: s, access: l.Path(access)}, nil
}

// Requests are the methods and paths that were asked for so far.
func (s *HTTPServer) Requests() ([]string, error) {
	// It writes them every few seconds, and when its logs are rotated, of which it says so.
	const written = "logfiles cycled"
	before := strings.Count(s.Log(), written)
	if err := s.signal(unix.SIGHUP); err != nil {
		return nil, err
	}
	for until := time.Now().Add(readyTimeout); strings.Count(s.Log(), written) == before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			return nil, fmt.Errorf("%s does not write its log", s.name)
		}
	}
	b, err := os.ReadFile(s.access)
	return strings.Split(strings.TrimSpace(string(b)), "\n"), err
}
