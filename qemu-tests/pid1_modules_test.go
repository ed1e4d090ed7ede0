//go:build qemu

package qemutests

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"

	"github.com/sidusboot/sidusboot/image"
)

// looped is an image whose manifest says of each of two modules, which every boot
// needs, that the other one is to be loaded behind it, and both behind each of the
// rest: such an image the generator does not make any more.
func (s *site) looped() string {
	s.t.Helper()
	archive, err := os.ReadFile(s.build("--compress=none"))
	if err != nil {
		s.t.Fatal(err)
	}
	var m *image.Manifest
	name := strings.TrimPrefix(image.ManifestPath(s.release), "/")
	for r := cpio.NewReader(bytes.NewReader(archive)); m == nil; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			s.t.Fatalf("the image has no %s", name)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.TrimPrefix(h.Name, "/") == name {
			if m, err = image.ReadManifest(r); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	// Written by hand: the package may refuse to write this.
	var text strings.Builder
	fmt.Fprintf(&text, "sidusboot-manifest 1\nkernel %s\nprofile %s\n", m.Kernel, strings.Join(m.Profiles, ","))
	after := map[string]string{"sunrpc": "overlay", "overlay": "sunrpc"}
	for _, mod := range m.Modules {
		fmt.Fprintf(&text, "module %s", mod.Name)
		if len(mod.Needs) > 0 {
			fmt.Fprintf(&text, " needs=%s", strings.Join(mod.Needs, ","))
		}
		if other := after[mod.Name]; other != "" {
			fmt.Fprintf(&text, " after=%s\n", other)
		} else {
			text.WriteString(" after=sunrpc,overlay\n")
		}
	}
	for _, b := range m.Builtin {
		fmt.Fprintf(&text, "builtin %s\n", b)
	}
	for _, a := range m.Aliases {
		fmt.Fprintf(&text, "alias %s %s\n", a.Pattern, a.Module)
	}
	// A second archive behind the first: the kernel lets the later file win.
	var more bytes.Buffer
	w := cpio.NewWriter(&more)
	err = w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | 0o644, Size: int64(text.Len())})
	if err == nil {
		_, err = io.WriteString(w, text.String())
	}
	if err := errors.Join(err, w.Close()); err != nil {
		s.t.Fatal(err)
	}
	return s.file("looped.img", string(archive)+strings.Repeat("\x00", -len(archive)&511)+more.String())
}

// TestModuleLoop boots an image whose soft dependencies go round in a circle: a
// kernel panic by a stack overflow in /init, once.
func TestModuleLoop(t *testing.T) {
	t.Parallel()
	s := newSite(t, "bookworm")
	s.nfs(Export{}, NFSOptions{})
	s.dhcp(DHCPOptions{})
	g := s.boot(s.root("vers=3 ")+probeParams, GuestOptions{Initrd: s.looped(), NICs: []NIC{{MAC: MAC(1)}}})
	modules := s.report(g).Modules
	for _, name := range []string{"sunrpc", "overlay"} {
		if !slices.Contains(modules, name) {
			t.Errorf("%s is not loaded, only %v", name, modules)
		}
	}
}
