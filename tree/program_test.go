package tree

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestFindInit(t *testing.T) {
	root := t.TempDir()
	mustMkdir(t, root+"/sbin", root+"/usr/lib/systemd", root+"/bin")
	if name, err := At(root).FindInit(""); err == nil || !strings.Contains(err.Error(), "/sbin/init, /etc/init") {
		t.Errorf("empty tree: FindInit = %q, %v", name, err)
	}
	program := root + "/usr/lib/systemd/systemd"
	if err := os.WriteFile(program, []byte("#!"), 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, "/lib/systemd/systemd", root+"/sbin/init")
	link(t, "usr/lib", root+"/lib")
	if name, err := At(root).FindInit(""); err == nil || !strings.Contains(err.Error(), "not an executable file") {
		t.Errorf("not executable: FindInit = %q, %v", name, err)
	}
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	if name, err := At(root).FindInit(""); name != "/sbin/init" || err != nil {
		t.Errorf("FindInit = %q, %v, want /sbin/init", name, err)
	}
	if err := At(root).CheckInit(""); err == nil {
		t.Error("CheckInit of two bytes: no error")
	}
	if err := os.WriteFile(program, make([]byte, 100), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := At(root).CheckInit(""); err == nil || !strings.Contains(err.Error(), "first bytes are 0x00000000") {
		t.Errorf("CheckInit of zeros: %v", err)
	}
	if err := os.WriteFile(program, []byte("#! /bin/interpreter -x\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := At(root).CheckInit(""); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "its interpreter /bin/interpreter cannot be run") {
		t.Errorf("CheckInit of a script without its interpreter: %v", err)
	}
	if err := os.WriteFile(root+"/bin/interpreter", []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := ignoreOwner(At(root).CheckInit("")); err != nil {
		t.Errorf("CheckInit: %v", err)
	}
	if name, err := At(root).FindInit("/opt/none"); err == nil || !strings.Contains(err.Error(), "no program /opt/none: check init=") {
		t.Errorf("init=/opt/none: FindInit = %q, %v", name, err)
	}
	link(t, "loop", root+"/bin/loop")
	if name, err := At(root).FindInit("/bin/loop"); err == nil {
		t.Errorf("endless link: FindInit = %q", name)
	}
}
