package nfs

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// An oldKernel refuses the options that it does not know.
type oldKernel struct {
	*fakeSystem
	unknown []string
	data    string
}

func (k *oldKernel) Mount(device, dir, fstype string, flags uintptr, data string) error {
	k.data = data
	for _, name := range k.unknown {
		if strings.Contains(data, ","+name) {
			return unix.EINVAL
		}
	}
	return k.fakeSystem.Mount(device, dir, fstype, flags, data)
}

// What an older kernel does not know is left out and reported; what is wrong for
// another reason is an error as it was.
func TestNewOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		options, unknown string
		has, says        string
		refused          bool
	}{
		"all are known":    {"nconnect=4,rsize=65536", "", "nconnect=4,rsize=65536", "", false},
		"nconnect":         {"nconnect=4,rsize=65536", "nconnect", ",rsize=65536", "NFS option nconnect=4: it is left out", false},
		"only the newest":  {"nconnect=4,max_connect=8", "max_connect", ",nconnect=4", "NFS option max_connect=8: it is left out", false},
		"two":              {"nconnect=4,softreval", "nconnect softreval", "addr=10.0.0.1", "NFS option softreval,nconnect=4: it is left out", false},
		"one that is old":  {"rsize=1", "rsize", "", "", true},
		"old and new ones": {"rsize=1,nconnect=4", "rsize", "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			kernel := &oldKernel{fakeSystem: &fakeSystem{}, unknown: strings.Fields(tt.unknown)}
			said := ""
			m := Mounter{System: kernel, Logf: func(format string, args ...any) { said += fmt.Sprintf(format, args...) }}
			src := source
			src.Version, src.Options = "4.2", strings.Split(tt.options, ",")
			_, err := m.Mount(t.Context(), src, "/ro")
			if tt.refused {
				if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), tt.options) {
					t.Errorf("%v, want an error with the options %s", err, tt.options)
				}
				return
			}
			if err != nil || !strings.HasSuffix(kernel.data, tt.has) || !strings.Contains(said, tt.says) || tt.says == "" && said != "" {
				t.Errorf("mounted with %s, %v, said %q; want %s and %q", kernel.data, err, said, tt.has, tt.says)
			}
		})
	}
}
