package stamp

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/versions/layout"
)

var now = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

// newTree makes a tree with a script run in it.
func newTree(t *testing.T, script string) Tree {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("sh", "-ec", "mkdir -p etc var/lib/dpkg\n"+script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tr, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestRenew(t *testing.T) {
	for _, test := range []struct{ name, script, want string }{
		{"none yet", "", "2026-11-26T09:00:00Z 1 "},
		{"another", "mkdir etc/sidusboot; echo 2026-11-25T09:00:00Z 41 7 >etc/sidusboot/stamp", "2026-11-26T09:00:00Z 42 "},
		{"of the future", "mkdir etc/sidusboot; echo 2036-11-25T09:00:00Z 9 7 >etc/sidusboot/stamp", "2026-11-26T09:00:00Z 10 "},
		{"garbage", `mkdir etc/sidusboot; printf 'x\000\n -5 y' >etc/sidusboot/stamp`, "2026-11-26T09:00:00Z 1 "},
		{"a link that leads out", "mkdir etc/sidusboot; ln -s /etc/passwd etc/sidusboot/stamp", "2026-11-26T09:00:00Z 1 "},
		{"a FIFO", "mkdir etc/sidusboot; mkfifo etc/sidusboot/stamp", "2026-11-26T09:00:00Z 1 "},
		{"too large", "mkdir etc/sidusboot; truncate -s 1G etc/sidusboot/stamp", "2026-11-26T09:00:00Z 1 "},
		{"left by one that was killed", "mkdir etc/sidusboot; echo half >etc/sidusboot/stamp.sidusboot", "2026-11-26T09:00:00Z 1 "},
		{"etc/sidusboot is an absolute link", "mkdir usr; ln -s /usr etc/sidusboot", "2026-11-26T09:00:00Z 1 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := newTree(t, test.script)
			text, err := tr.Renew(now)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(tr.dir, strings.Replace(layout.Stamp, "etc/sidusboot", map[bool]string{true: "usr", false: "etc/sidusboot"}[tr.tree.IsDir("/usr")], 1)))
			if err != nil || string(got) != text+"\n" || !strings.HasPrefix(text, test.want) || len(got) > layout.MaxStamp {
				t.Errorf("got %q in the file, %q, %v, want %q", got, text, err, test.want)
			}
			if again, err := tr.Renew(now); err != nil || again == text {
				t.Errorf("the next is %q, %v", again, err)
			}
			if left, _ := filepath.Glob(filepath.Join(tr.dir, "etc/sidusboot/*.sidusboot*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
	tr := newTree(t, "mkdir -p etc/sidusboot/stamp")
	if _, err := tr.Renew(now); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sh", "-ec", "mkdir -p base/.sidustree base/versions/a/etc base/staging/etc empty; ln -s versions/a base/current; ln -s base/staging link; ln -s loop loop; touch file")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, says := range map[string]string{
		"base":            "is a base",
		"base/versions/a": "must not change",
		"base/current":    "must not change",
		"base/current/":   "must not change",
		"empty":           "has no etc",
		"file":            "is not a directory",
	} {
		t.Run(name, func(t *testing.T) {
			var bad *TreeError
			if _, err := Open(filepath.Join(dir, name)); !errors.As(err, &bad) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: got %v, want %q", name, err, says)
			}
		})
	}
	var bad *TreeError
	if _, err := Open("/etc/.."); !errors.As(err, &bad) || !strings.Contains(err.Error(), "own root") {
		t.Errorf("the machine's own root: %v", err)
	}
	for _, name := range []string{"loop", "gone"} {
		if _, err := Open(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
	for _, name := range []string{"base/staging", "link"} {
		if _, err := Open(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExpire(t *testing.T) {
	tr := newTree(t, `mkdir -p .sidusboot-aside/until-20261126-085959-7/usr/bin .sidusboot-aside/until-20261126-090001-8 .sidusboot-aside/until-x-9 .sidusboot-aside/until-20200101-000000
touch .sidusboot-aside/until-20261126-085959-7/usr/bin/old; ln -s / .sidusboot-aside/until-20261126-085959-7/root
ln -s ../etc .sidusboot-aside/until-20200101-000000-1; touch etc/keep`)
	got, err := tr.Expire(now)
	if want := []string{"until-20261126-085959-7"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("removed %q, %v, want %q", got, err, want)
	}
	if _, err := os.Stat(filepath.Join(tr.dir, "etc/keep")); err != nil {
		t.Error(err)
	}
	sets, err := tr.Sets()
	if err != nil || len(sets) != 1 || sets[0].Name != "until-20261126-090001-8" || !sets[0].Until.Equal(now.Add(time.Second)) {
		t.Errorf("left: %+v, %v", sets, err)
	}
	tr = newTree(t, "mkdir -p .sidusboot-aside/until-20261126-085959-7")
	if _, err := tr.Expire(now); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(tr.aside()); !os.IsNotExist(err) {
		t.Errorf("the empty directory is still there: %v", err)
	}
	tr = newTree(t, "mkdir -p other/until-20200101-000000-1; ln -s other .sidusboot-aside")
	var bad *TreeError
	if _, err := tr.Expire(now); !errors.As(err, &bad) {
		t.Errorf("a link: %v", err)
	}
}

func TestHook(t *testing.T) {
	tr := newTree(t, "")
	files, err := tr.InstallHook(36 * time.Hour)
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	text, err := os.ReadFile(filepath.Join(tr.dir, hookFile))
	if err != nil || !strings.Contains(string(text), "\nkeep=2160 #") || !strings.Contains(string(text), "\naside=/.sidusboot-aside\n") ||
		!strings.Contains(string(text), "\nstamp=/etc/sidusboot/stamp\n") || strings.Contains(string(text), "@") && strings.Contains(string(text), "@ASIDE@") {
		t.Errorf("%v: %s", err, text)
	}
	if info, err := os.Stat(filepath.Join(tr.dir, hookFile)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := tr.InstallHook(time.Hour); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := errors.Join(tr.RemoveHook(), tr.RemoveHook()); err != nil {
		t.Errorf("removed twice: %v", err)
	}
	for _, name := range files {
		if _, err := os.Lstat(filepath.Join(tr.dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there", name)
		}
	}
	var bad *TreeError
	if _, err := newTree(t, "rm -r var").InstallHook(time.Hour); !errors.As(err, &bad) {
		t.Errorf("without dpkg: %v", err)
	}
	if _, err := tr.InstallHook(0); err == nil {
		t.Error("kept for no time")
	}
}

func TestParseKeep(t *testing.T) {
	for text, want := range map[string]time.Duration{"7d": 168 * time.Hour, "12h": 12 * time.Hour, "1m": time.Minute, "3650d": MaxKeep,
		"": 0, "7": 0, "d": 0, "0d": 0, "-1d": 0, "1.5h": 0, "3651d": 0, "7 d": 0, "99999999999999999999d": 0, "7d\n": 0} {
		t.Run(text, func(t *testing.T) {
			if got, err := ParseKeep(text); got != want || (err == nil) != (want > 0) {
				t.Errorf("ParseKeep(%q) = %v, %v, want %v", text, got, err, want)
			}
		})
	}
}
