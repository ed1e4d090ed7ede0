package rwlayer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A fakeSystem mounts a file by putting names into the directory, and notes what
// it was asked for.
type fakeSystem struct {
	t *testing.T
	// root are the names in the file system, directories with a slash.
	root []string
	// unclean says that the file system's journal has to be replayed.
	unclean bool
	// refuse makes each mount that could write fail.
	refuse error
	// damaged makes the first mount that could write fail.
	damaged  error
	did      []string
	readOnly bool
	mounted  string
}

func (s *fakeSystem) note(format string, args ...any) {
	s.did = append(s.did, fmt.Sprintf(format, args...))
}

func (s *fakeSystem) Load(module string) error { return nil }

func (s *fakeSystem) Mount(device, dir, fstype string, flags uintptr, data string) error {
	switch {
	case s.mounted != "":
		s.t.Errorf("mount on %s while it is mounted on %s", dir, s.mounted)
	case flags&unix.MS_RDONLY == 0:
		s.note("mount")
		if s.readOnly {
			return unix.EROFS
		}
		if s.refuse != nil {
			return s.refuse
		}
		if err := s.damaged; err != nil {
			s.damaged = nil
			return err
		}
	case !s.readOnly:
		s.t.Error("looked into while the device can be written")
	case !strings.Contains(data, "noload"):
		s.note("look whether the journal is clean")
		if s.unclean {
			return unix.EROFS
		}
	default:
		s.note("look by %s with %s", fstype, data)
	}
	for _, name := range s.root {
		bare, isDir := strings.CutSuffix(name, "/")
		path := filepath.Join(dir, bare)
		var err error
		if isDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, nil, 0o600)
		}
		if err != nil {
			return err
		}
	}
	s.mounted = dir
	return nil
}

func (s *fakeSystem) Unmount(dir string) error {
	if s.mounted != dir {
		return unix.EINVAL
	}
	s.mounted = ""
	names, err := os.ReadDir(dir)
	for _, e := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

func (s *fakeSystem) SetReadOnly(_ string, on bool) error {
	s.readOnly = on
	return nil
}

func (s *fakeSystem) Run(_ func(string), argv ...string) (string, int, error) {
	if s.readOnly {
		s.t.Errorf("%s on a read-only device", argv[0])
	}
	if s.mounted != "" {
		s.t.Errorf("%s while the device is mounted on %s", argv[0], s.mounted)
	}
	s.note("%s", filepath.Base(argv[0]))
	return runHere(argv)
}

// runHere runs a program of this machine instead of the tree's.
func runHere(argv []string) (string, int, error) {
	cmd := exec.Command(filepath.Base(argv[0]), argv[1:]...)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return "", 0, err
	}
	defer null.Close()
	cmd.ExtraFiles = []*os.File{null} // ProgressFD
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode(), nil
	}
	return string(out), 0, err
}

const (
	reserveStep = "reserve"
	lookStep    = "look by ext4 with noload,errors=continue"
	cleanStep   = "look whether the journal is clean"
)

// Nothing is reserved, checked or mounted before it is known whose the volume is,
// and nothing at all happens to another's.
func TestMount(t *testing.T) {
	const id = "01234567-89ab-cdef-0123-456789abcdef"
	ext4 := "mkfs.ext4 -q -U " + id + " $F"
	for name, tt := range map[string]struct {
		make    string
		root    []string
		unclean bool
		adopt   string
		never   bool // no mkfs
		did     []string
		fails   string
	}{
		"blank":           {did: []string{reserveStep, "mkfs.ext4", "mount"}},
		"blankNever":      {never: true, fails: "is blank"},
		"label":           {make: ext4 + " -L sidusboot", root: []string{"home/"}, did: []string{reserveStep, "mount"}},
		"directories":     {make: ext4, root: []string{"lost+found/", "upper/", "work/", "more"}, did: []string{lookStep, reserveStep, "mount"}},
		"empty":           {make: ext4, root: []string{"lost+found/"}, did: []string{lookStep, cleanStep, reserveStep, "mount", "mount"}},
		"emptyUnclean":    {make: ext4, root: []string{"lost+found/"}, unclean: true, did: []string{lookStep, cleanStep}, fails: "its journal may hold files"},
		"others":          {make: ext4 + " -L photos", root: []string{"lost+found/", "home/", "a\x1bb"}, did: []string{lookStep}, fails: `ext4 labelled "photos", UUID ` + id + `, that is not known to be this node's own: there is a\u001bb, home/ in it`},
		"upperOnly":       {make: ext4, root: []string{"upper/"}, did: []string{lookStep}, fails: "there is upper/ in it"},
		"fileNamedWork":   {make: ext4, root: []string{"upper/", "work"}, did: []string{lookStep}, fails: "there is upper/, work in it"},
		"openWrt":         {make: ext4, root: []string{"etc/", "etc/.extroot-uuid", "upper/", "work/"}, did: []string{lookStep}, fails: "there is etc/, etc/.extroot-uuid, upper/, work/ in it"},
		"openWrtState":    {make: ext4, root: []string{".fs_state", "upper/", "work/"}, did: []string{lookStep}, fails: "there is .fs_state, upper/, work/ in it"},
		"etcOfOurs":       {make: ext4, root: []string{"etc/", "upper/", "work/"}, did: []string{lookStep, reserveStep, "mount"}},
		"lostFoundAFile":  {make: ext4, root: []string{"lost+found"}, did: []string{lookStep}, fails: "there is lost+found in it"},
		"adoptedUUID":     {make: ext4, root: []string{"home/"}, adopt: strings.ToUpper(id), did: []string{reserveStep, "mount", "mount"}},
		"adoptedLabel":    {make: ext4 + " -L photos", root: []string{"home/"}, adopt: "photos", did: []string{reserveStep, "mount", "mount"}},
		"otherLabelNamed": {make: ext4 + " -L photos", root: []string{"home/"}, adopt: "Photos", did: []string{lookStep}, fails: "home/"},
		"crashed":         {make: ext4 + " -L sidusboot; debugfs -w -R 'feature needs_recovery' $F", root: []string{"home/"}, did: []string{reserveStep, "fsck.ext4", "mount"}},
		"swap":            {make: "mkswap -q $F", fails: "it holds swap space"},
		"data":            {make: "printf x | dd of=$F bs=1 seek=9999999 conv=notrunc status=none", fails: "unknown kind"},
		"newer":           {make: ext4 + " -L sidusboot; debugfs -w -R 'feature FEATURE_C20 FEATURE_R21' $F", did: []string{reserveStep, "fsck.ext4"}, fails: "features that the tree's e2fsprogs does not know (FEATURE_C20, FEATURE_R21)"},
		"damaged":         {make: ext4 + " -L sidusboot; debugfs -w -R 'clri <2>' $F; debugfs -w -R 'ssv state 0' $F", did: []string{reserveStep, "fsck.ext4"}, fails: "left errors"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(file, make([]byte, 16<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			shell(t, strings.ReplaceAll(tt.make, "$F", file))
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sys := &fakeSystem{t: t, root: tt.root, unclean: tt.unclean}
			dir := t.TempDir()
			_, _, err = Mount(sys, file, dir, VolumeOptions{
				Format: !tt.never, Reserve: 0x1111, Label: "sidusboot", Adopt: []string{tt.adopt}, InspectDir: t.TempDir(),
				// A file has no reservations, which is what is said of it.
				Logf: func(format string, args ...any) {
					if !strings.Contains(fmt.Sprintf(format, args...), "not support persistent reservations") {
						t.Errorf(format, args...)
					}
					sys.note(reserveStep)
				},
			})
			if (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("Mount = %v, want %q in it", err, tt.fails)
			}
			if !slices.Equal(sys.did, tt.did) {
				t.Errorf("it did %q, want %q", sys.did, tt.did)
			}
			if sys.readOnly || err != nil && sys.mounted != "" {
				t.Errorf("read-only: %v, mounted: %q", sys.readOnly, sys.mounted)
			}
			if tt.fails != "" && name != "damaged" { // fsck has looked at that one, and noted it.
				if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
					t.Errorf("the volume was written to, %v", err)
				}
			}
		})
	}
}

// What cannot be mounted, or not be written, does not stay mounted when its
// reservation is given back.
func TestMountFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	shell(t, "mkfs.ext4 -q -L sidusboot "+file)
	sys := &fakeSystem{t: t, root: []string{"upper"}}
	dir := t.TempDir()
	_, _, err := Mount(sys, file, dir, VolumeOptions{Label: "sidusboot"})
	if err == nil || sys.mounted != "" {
		t.Errorf("a file in upper's place: %v, mounted on %q", err, sys.mounted)
	}
	// It may be there because the file system is damaged.
	if want := []string{"mount", "fsck.ext4", "mount"}; !slices.Equal(sys.did, want) {
		t.Errorf("a file in upper's place: it did %q, want %q", sys.did, want)
	}
	sys = &fakeSystem{t: t, refuse: unix.EUCLEAN}
	_, _, err = Mount(sys, file, dir, VolumeOptions{Label: "sidusboot"})
	// The superblock says that it is clean; the kernel, that it is not.
	if want := []string{"mount", "fsck.ext4", "mount"}; !errors.Is(err, unix.EUCLEAN) || !slices.Equal(sys.did, want) {
		t.Errorf("a mount that fails: %v, it did %q, want %q", err, sys.did, want)
	}
	// Linux up to 6.5 says EINVAL of a journal that it cannot read.
	sys = &fakeSystem{t: t, damaged: unix.EINVAL}
	_, _, err = Mount(sys, file, dir, VolumeOptions{Label: "sidusboot"})
	if want := []string{"mount", "fsck.ext4", "mount"}; err != nil || !slices.Equal(sys.did, want) {
		t.Errorf("a mount that succeeds after a check: %v, it did %q, want %q", err, sys.did, want)
	}
}

func TestUnsupportedFeatures(t *testing.T) {
	for output, want := range map[string]string{
		"/dev/sda has unsupported feature(s): FEATURE_C12 FEATURE_R16\ne2fsck: Get a newer version of e2fsck!\n\n/dev/sda: **** WARNING": "orphan_file orphan_present",
		"/dev/sda has unsupported feature(s): FEATURE_I30":       "FEATURE_I30",
		"/dev/sda: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.": "",
		"": "",
	} {
		t.Run(output, func(t *testing.T) {
			if got := strings.Join(unsupportedFeatures(output), " "); got != want {
				t.Errorf("%q: %q, want %q", output, got, want)
			}
		})
	}
}
