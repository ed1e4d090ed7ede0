package qemutests

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
)

// An HTTPServer offers a directory inside the lab.
type HTTPServer struct {
	mu       sync.Mutex
	requests []string
	server   *http.Server
}

// StartHTTP offers a directory of the host by HTTP, on port 80 of ServerAddr.
func (l *Lab) StartHTTP(dir string) (*HTTPServer, error) {
	var listener net.Listener
	err := l.Inside(func() (err error) {
		listener, err = net.Listen("tcp4", ServerAddr+":80")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	s := &HTTPServer{}
	files := http.FileServer(http.Dir(dir))
	s.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		l.watch.progress("a request for " + r.URL.Path)
		files.ServeHTTP(w, r)
	})}
	go func() { _ = s.server.Serve(listener) }()
	l.logf("http started")
	return s, nil
}

// Requests are the methods and paths that were asked for so far.
func (s *HTTPServer) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Close ends the server.
func (s *HTTPServer) Close() error { return s.server.Close() }
