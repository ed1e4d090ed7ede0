package nfs

import (
	"fmt"
	"strconv"
	"strings"
)

// has tells whether an option of this name was given with a value.
func (s Source) has(name string) bool { return s.option(name) != "" }

// option is the value of an option. The last one counts, as for the kernel.
func (s Source) option(name string) (value string) {
	for _, o := range s.Options {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			value = v
		}
	}
	return value
}

// transport is tcp, udp or rdma. The kernel takes each of them without proto=
// too (fs/nfs/fs_context.c, Opt_udp).
func (s Source) transport() string {
	transport := "tcp"
	for _, o := range s.Options {
		switch name, value, _ := strings.Cut(o, "="); name {
		case "tcp", "udp", "rdma":
			transport = name
		case "proto":
			transport = strings.TrimSuffix(value, "6")
		}
	}
	return transport
}

// WithoutPort tells whether the options leave the port open.
func (s Source) WithoutPort() bool { return !s.has("port") }

// Port is where the server listens by TCP, and 0 where the options choose
// another transport.
func (s Source) Port() (uint16, error) {
	if s.transport() != "tcp" {
		return 0, nil
	}
	text := nfsPort
	if p := s.option("port"); p != "" {
		text = p
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("the NFS option port=%s is not a port", text)
	}
	return uint16(port), nil
}
