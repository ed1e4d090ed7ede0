package overlay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A fakeKernel knows the file systems whose modules were loaded.
type fakeKernel struct {
	image   map[string]bool // modules in the image
	loaded  map[string]bool
	mounts  []string // data of successful mounts
	mount   func(data string) error
	mounted string
}

func (k *fakeKernel) Load(module string) error {
	if !k.image[module] {
		return errors.New("module " + module + " is not in this image")
	}
	if k.loaded == nil {
		k.loaded = make(map[string]bool)
	}
	k.loaded[module] = true
	return nil
}
func (k *fakeKernel) Has(fstype string) (bool, error) { return k.loaded[fstype], nil }
func (k *fakeKernel) Mount(_, _, fstype string, _ uintptr, data string) error {
	if k.mount != nil {
		if err := k.mount(data); err != nil {
			return err
		}
	}
	k.mounts = append(k.mounts, data)
	k.mounted = fstype
	return nil
}
func (k *fakeKernel) Unmount(string) error {
	k.mounted = ""
	return nil
}

func TestChoose(t *testing.T) {
	tests := []struct {
		name    string
		image   []string
		builtin []string
		want    Kind
		got     Kind
		err     string
	}{
		{name: "aufs before overlayfs", image: []string{"aufs", "overlay"}, got: Aufs},
		{name: "no aufs", image: []string{"overlay"}, got: Overlay},
		{name: "aufs built in, not in the image", builtin: []string{"aufs"}, got: Aufs},
		{name: "overlay asked for", image: []string{"aufs", "overlay"}, want: Overlay, got: Overlay},
		{name: "aufs asked for and absent", image: []string{"overlay"}, want: Aufs, err: "overlay: the kernel has no aufs"},
		{name: "neither", err: "neither aufs nor overlayfs"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &fakeKernel{image: make(map[string]bool), loaded: make(map[string]bool)}
			for _, m := range tt.image {
				k.image[m] = true
			}
			for _, m := range tt.builtin {
				k.loaded[m] = true
			}
			got, err := Choose(k, tt.want)
			if got != tt.got || (err != nil) != (tt.err != "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("Choose = %q, %v, want %q, %q", got, err, tt.got, tt.err)
			}
			var missing *KindError
			if asked := errors.As(err, &missing); asked != (err != nil && tt.want != "") {
				t.Errorf("Choose = %v, a KindError: %v", err, asked)
			}
		})
	}
}

var layers = Layers{Lower: "/ro", Upper: "/rw/upper", Work: "/rw/work", XIno: "/rw/.aufs.xino", Source: "/rw"}

func TestOptions(t *testing.T) {
	kept := layers
	kept.Kept = true
	tests := []struct {
		name   string
		kind   Kind
		layers Layers
		want   []string
	}{
		{"overlay", Overlay, layers, []string{"lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work,index=off,nfs_export=off,xino=off,metacopy=off,redirect_dir=on"}},
		{"overlay, kept", Overlay, kept, []string{"lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work,index=off,nfs_export=off,xino=off,metacopy=off,redirect_dir=off"}},
		{"aufs", Aufs, layers, []string{
			"br=/rw/upper=rw+icexsys+icexusr:/ro=ro,xino=/rw/.aufs.xino,udba=reval,acl",
			"br=/rw/upper=rw:/ro=ro,xino=/rw/.aufs.xino,udba=reval",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(options(tt.kind, tt.layers), "\n")
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("options(%s) =\n%s\nwant\n%s", tt.kind, got, want)
			}
		})
	}
}

func TestMount(t *testing.T) {
	fine := func(string) error { return nil }
	tests := []struct {
		name   string
		kind   Kind
		mount  func(data string) error
		test   func(k *fakeKernel) error
		mounts int
		err    string
	}{
		{name: "overlay", kind: Overlay, mounts: 1},
		{name: "aufs", kind: Aufs, mounts: 1},
		{
			// An unknown permission makes a branch read-only.
			name: "aufs that takes the branch for read-only", kind: Aufs, mounts: 2,
			test: func(k *fakeKernel) error {
				if strings.Contains(k.mounts[len(k.mounts)-1], "icexsys") {
					return unix.EROFS
				}
				return nil
			},
		},
		{
			name: "aufs that refuses an option", kind: Aufs, mounts: 1,
			mount: func(data string) error {
				if strings.Contains(data, "icexsys") {
					return unix.EINVAL
				}
				return nil
			},
		},
		{
			name: "cannot be written", kind: Overlay, mounts: 1, err: "cannot be used: no space left on device",
			test: func(*fakeKernel) error { return unix.ENOSPC },
		},
		{
			name: "kernel says no", kind: Overlay, err: "the kernel log says",
			mount: func(string) error { return unix.EINVAL },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &fakeKernel{mount: tt.mount}
			test := fine
			if tt.test != nil {
				test = func(string) error { return tt.test(k) }
			}
			err := Mount(k, tt.kind, layers, "/aufs", test)
			if (err != nil) != (tt.err != "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("Mount = %v, want %q", err, tt.err)
			}
			if len(k.mounts) != tt.mounts {
				t.Errorf("mounted %d times: %q, want %d", len(k.mounts), k.mounts, tt.mounts)
			}
			if mounted := k.mounted != ""; mounted != (err == nil) {
				t.Errorf("mounted = %v after error %v", mounted, err)
			}
		})
	}
}

func TestHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "filesystems")
	if err := os.WriteFile(path, []byte("nodev\tsysfs\nnodev\toverlay\n\text4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for fstype, want := range map[string]bool{"overlay": true, "ext4": true, "aufs": false, "over": false} {
		t.Run(fstype, func(t *testing.T) {
			if got, err := Has(path, fstype); got != want || err != nil {
				t.Errorf("Has(%s) = %v, %v, want %v", fstype, got, err, want)
			}
		})
	}
	if _, err := Has(path+"x", "ext4"); err == nil {
		t.Error("Has without the file: no error")
	}
}
