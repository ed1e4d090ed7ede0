package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/initrd"
	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// TestMain lets the test binary stand in for the program.
func TestMain(m *testing.M) {
	if os.Getenv("INITRDGEN_RUN") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// initrdgen runs the program, under a shell prefix such as "umask 077;".
func initrdgen(t *testing.T, prefix string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", prefix + ` exec "$0" "$@"`, os.Args[0]}, args...)...)
	cmd.Env = append(append(os.Environ(), "INITRDGEN_RUN=1"), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// goodOptions are those of a build that succeeds, as far as files are named.
func goodOptions(t *testing.T) (root string, opts initrd.Options) {
	t.Helper()
	dir := t.TempDir()
	root = initrdtest.Tree(t)
	opts = initrd.Options{Root: root, Output: filepath.Join(dir, "initrd.img"), Init: filepath.Join(dir, "init")}
	initrdtest.WriteFile(t, opts.Init, initrdtest.Program(nil))
	return root, opts
}

// rowName names a row by its arguments, without the directories of this run.
func rowName(args []string) string {
	var names []string
	for _, arg := range args {
		names = append(names, filepath.Base(arg))
	}
	return strings.Join(names, " ")
}

func TestExitCodes(t *testing.T) {
	root, opts := goodOptions(t)
	good := []string{"build", "--root", root, "--output", opts.Output, "--init", opts.Init}
	with := func(args ...string) []string { return append(append([]string(nil), good...), args...) }
	devices, part := filepath.Join(t.TempDir(), "node.modalias"), filepath.Join(t.TempDir(), "part")
	initrdtest.WriteFile(t, devices, []byte("pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00\nvirtio:d00000001v00001AF4\n"))
	if _, stderr, code := initrdgen(t, "", nil, good...); code != 0 {
		t.Fatal(stderr) // The rows read its image.
	}
	for _, tt := range []struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		{good, 0, "profile generic", ""},
		{with("--profile", "virtual", "--compress", "none"), 0, "profile virtual", ""},
		{with("--verbose"), 0, "missing rtl_nic/gone.fw", ""},
		{with("--json"), 0, `"profile": "generic"`, ""},
		{with("--dry-run"), 0, "nothing was written", ""},
		{with("--dry-run", "--kernel", "5.10"), 1, "", "--kernel: "},
		{with("--strict", "--dry-run"), 1, "", "rtl_nic/gone.fw\ninitrdgen: --strict: no image was built, because of the warnings above"},
		{with("--strict", "--dry-run", "--allow-missing", "["), 2, "", `--allow-missing: "[" is not a pattern`},
		{[]string{"list", opts.Output}, 0, "lib/modules/6.1.0-test/nfs.ko", ""},
		{[]string{"install", "--help"}, 0, "Examples:", ""},
		{[]string{"install"}, 2, "", "--tftp: is missing"},
		{[]string{"install", "--tftp", t.TempDir()}, 2, "", "--image: is missing"},
		{[]string{"install", "--tftp", t.TempDir(), "--image", opts.Output}, 2, "", "--kernel: is missing: give the kernel's file, or the tree that has it in boot/ (--root)\n"},
		{[]string{"install", "--tftp", t.TempDir(), "--image", opts.Output, "--root", root}, 1, "", "--root: " + root + " has no boot/vmlinuz-6.1.0-test, the kernel of the image: install its package, or give the file of the kernel (--kernel)\n"},
		{[]string{"install", "--tftp", t.TempDir(), "--root", root}, 1, "", "has no boot/initrd-sidus-RELEASE with boot/vmlinuz-RELEASE"},
		{[]string{"install", "--tftp", t.TempDir(), "--rollback"}, 1, "", "no version that was used before"},
		{[]string{"install", "--tftp", t.TempDir(), "--rollback", "--root", root}, 2, "", "leave out"},
		{[]string{"install", "--tftp", t.TempDir(), "--loader", "lilo"}, 2, "", `--loader: "lilo" is not a loader`},
		{[]string{"install", "--tftp", t.TempDir(), "--image", opts.Output, "--kernel", "x", "--append", "a'b"}, 1, "", "--kernel: "},
		{[]string{"install", "--tftp", t.TempDir(), "--owner", "nobody-of-that-name"}, 1, "", "there is no user"},
		{[]string{"version"}, 0, "initrdgen ", ""},
		{[]string{"--version"}, 0, "initrdgen ", ""},
		{[]string{"--help"}, 0, "Available Commands", ""},
		{[]string{"build", "--help"}, 0, "Examples:", ""},
		{[]string{"list", "--help"}, 0, "Examples:", ""},
		{nil, 2, "", "no command given"},
		{[]string{"bild"}, 2, "", `unknown command "bild"`},
		{[]string{"build", "--bogus"}, 2, "", "unknown flag: --bogus"},
		{[]string{"build", "--root"}, 2, "", "flag needs an argument"},
		{[]string{"build", "--output", "x"}, 2, "", "--root: is missing"},
		{[]string{"build", "--root", root}, 2, "", "--output: is missing"},
		{with("extra"), 2, "", `unexpected argument "extra"`},
		{with("--profile", "tiny"), 2, "", "--profile: unknown profile"},
		{with("--compress", "lz4"), 2, "", "--compress: unknown compressor"},
		{with("--report", opts.Output), 2, "", "is the same file as the image that is written"},
		{with("--report", filepath.Dir(opts.Output)+"/./initrd.img"), 2, "", "is the same file as the image that is written"},
		{with("--config", opts.Output), 2, "", "is the same file as the file of parameters"},
		{[]string{"list"}, 2, "", "IMAGE is missing"},
		{[]string{"list", "--json", opts.Output}, 0, `"path": "lib/modules/6.1.0-test/nfs.ko"`, ""},
		{[]string{"list", "/dev/null"}, 1, "", "not a regular file: give the name of an initrd"},
		{[]string{"cat", opts.Output, "etc/initrd-release"}, 0, "ID=sidusboot\n", ""},
		{[]string{"cat", opts.Output, "nothing"}, 1, "", opts.Output + ": nothing: the image has no such file"},
		{[]string{"cat", opts.Output}, 2, "", "PATH is missing"},
		{[]string{"extract", opts.Output, "--output", filepath.Join(t.TempDir(), "x"), "etc"}, 0, "1 files", ""},
		{[]string{"extract", opts.Output, "--output", filepath.Dir(opts.Output)}, 1, "", "is not empty"},
		{[]string{"extract", opts.Output, "--output", part, "etc", "nothing"}, 1, "", "; what was extracted before that is in " + part + ": remove it"},
		{[]string{"extract", opts.Output}, 2, "", "--output is missing"},
		{[]string{"diff", opts.Output, opts.Output, "--exit-code"}, 0, "0 changed", ""},
		{[]string{"diff", opts.Output, opts.Init}, 1, "", opts.Init + ": archive at byte 0: neither a cpio archive"},
		{[]string{"diff", opts.Output}, 2, "", "IMAGE is missing"},
		{[]string{"check", opts.Output, "--modalias", devices, "--root", root}, 0, "the node would boot\n", ""},
		{[]string{"check", opts.Output, "--modalias", devices, "--json"}, 0, `"boots": true`, ""},
		{[]string{"check", opts.Output, "--modalias", devices, "--kernel", "5.10"}, 1, "", "--kernel: the image has no modules of kernel 5.10: choose one of 6.1.0-test"},
		{[]string{"check", opts.Output, "--modalias", devices, "--root", "/nowhere"}, 1, "", "--root: stat /nowhere"},
		{[]string{"check", opts.Output, "--modalias", "/nowhere"}, 1, "", "--modalias: stat /nowhere"},
		{[]string{"check", opts.Output}, 2, "", "--modalias is missing"},
		{[]string{"list", opts.Init}, 1, "", "check that this file is an initrd"},
		{with("--kernel", "5.10"), 1, "", "--kernel: "},
		{with("--module", "none"), 1, "", "--module: none: kernel"},
	} {
		t.Run(rowName(tt.args), func(t *testing.T) {
			stdout, stderr, code := initrdgen(t, "", nil, tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("initrdgen %q = %d, want %d\nstdout (want %q): %s\nstderr (want %q): %s",
					tt.args, code, tt.code, tt.stdout, stdout, tt.stderr, stderr)
			}
			if tt.code != 0 && (!strings.HasPrefix(stderr, "initrdgen: ") || stdout != "") {
				t.Errorf("initrdgen %q: stderr = %q, stdout = %q", tt.args, stderr, stdout)
			}
		})
	}
}

// TestWithFlag names the flags for errors of the packages, which do not know them.
func TestWithFlag(t *testing.T) {
	broken := errors.New("it is broken: mend it")
	for name, tt := range map[string]struct {
		err  error
		want string
		code int
	}{
		"no option":              {broken, "it is broken: mend it", command.Failure},
		"an option":              {initrd.OptionErrorf("AppendTmpfs", "%w", broken), "--append-tmpfs: it is broken: mend it", command.Failure},
		"an invalid one":         {initrd.InvalidOptionf("Dir", "%w", broken), "--tftp: it is broken: mend it", command.Usage},
		"another flag":           {initrd.WithRemedy(broken, "Keep"), "it is broken: mend it (--keep)", command.Failure},
		"two flags":              {initrd.WithRemedy(initrd.InvalidOptionf("Root", "%w", broken), "Kernel", "Image"), "--root: it is broken: mend it (--kernel, --image)", command.Usage},
		"inside an option":       {initrd.InvalidOptionf("Append", "%w", initrd.WithRemedy(broken, "Default")), "--append: it is broken: mend it (--default)", command.Usage},
		"a flag of build":        {initrd.WithRemedy(initrd.OptionErrorf("Append", "%w", broken), "Config"), "--append: it is broken: mend it (initrdgen build --config)", command.Failure},
		"that of a set of flags": {initrd.WithRemedy(initrd.OptionErrorf("Image", "%w", broken), "Profiles"), "--image: it is broken: mend it (initrdgen build --profile)", command.Failure},
	} {
		t.Run(name, func(t *testing.T) {
			got := withFlag(installCommand(), tt.err)
			code := command.Failure
			if errors.As(got, new(command.UsageError)) {
				code = command.Usage
			}
			if got.Error() != tt.want || code != tt.code || !errors.Is(got, broken) {
				t.Errorf("withFlag: %v, exit %d, want %q, %d", got, code, tt.want, tt.code)
			}
		})
	}
}

// A node that would not boot: exit code 1, the reason on the standard output, or as JSON.
func TestCheckFails(t *testing.T) {
	root, opts := goodOptions(t)
	if _, stderr, code := initrdgen(t, "", nil, "build", "--root", root, "--output", opts.Output, "--init", opts.Init, "--profile", "virtual"); code != 0 {
		t.Fatal(stderr)
	}
	devices := filepath.Join(t.TempDir(), "node.modalias")
	initrdtest.WriteFile(t, devices, []byte("pci:v000010ECd00008168sv00001043sd00008677bc02sc00i00\n"))
	for _, args := range [][]string{nil, {"--json"}} {
		stdout, stderr, code := initrdgen(t, "", nil, append([]string{"check", opts.Output, "--modalias", devices, "--root", root}, args...)...)
		if code != 1 || !strings.Contains(stdout, "its driver r8169 is missing") || !strings.Contains(stderr, "the node would not boot") {
			t.Errorf("check %q = %d\nstdout: %s\nstderr: %s", args, code, stdout, stderr)
		}
	}
	first := opts.Output
	opts.Output += ".generic"
	if _, stderr, code := initrdgen(t, "", nil, "build", "--root", root, "--output", opts.Output, "--init", opts.Init); code != 0 {
		t.Fatal(stderr)
	}
	stdout, stderr, code := initrdgen(t, "", nil, "diff", "--exit-code", first, opts.Output)
	if code != 1 || !strings.Contains(stdout, "modules only in the second: libphy qlge r8152 r8169 realtek\n") || !strings.Contains(stderr, "the images differ") {
		t.Errorf("diff = %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}
}

// Neither umask nor time zone shows, in the image or on it.
func TestUmaskAndTimeZone(t *testing.T) {
	root, opts := goodOptions(t)
	var want []byte
	for _, prefix := range []string{"umask 022;", "umask 077;"} {
		for _, zone := range []string{"TZ=UTC", "TZ=Asia/Tokyo"} {
			out := filepath.Join(t.TempDir(), "initrd.img")
			_, stderr, code := initrdgen(t, prefix, []string{zone}, "build", "--root", root, "--output", out, "--init", opts.Init)
			if code != 0 {
				t.Fatalf("build = %d: %s", code, stderr)
			}
			got, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Errorf("image with %s %s differs", prefix, zone)
			}
			if fi, err := os.Stat(out); err != nil || fi.Mode().Perm() != 0o644 {
				t.Errorf("mode of the image with %s is %v, %v, want 0644", prefix, fi.Mode(), err)
			}
		}
	}
}

// A signal ends the build, and the temporary file with it.
func TestSignal(t *testing.T) {
	_, opts := goodOptions(t)
	// Enough that xz takes seconds.
	random := make([]byte, 32<<20)
	rand.NewChaCha8([32]byte{}).Read(random)
	initrdtest.WriteFile(t, opts.Init, initrdtest.Program(random))
	cmd := exec.Command(os.Args[0], "build", "--root", opts.Root, "--output", opts.Output, "--init", opts.Init, "--compress", "xz")
	cmd.Env = append(os.Environ(), "INITRDGEN_RUN=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(opts.Output)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if found, _ := filepath.Glob(filepath.Join(dir, ".*.tmp")); len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Error("no temporary file within 30 s")
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != command.Failure || !strings.Contains(stderr.String(), "was not changed") {
		t.Errorf("interrupted build = %d, %s, want %d", code, stderr.String(), command.Failure)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("an interrupted build left %q", left)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("an interrupted build left %q", left)
	}
}

// Without --init it is the one beside the program.
func TestInitBesideProgram(t *testing.T) {
	root := initrdtest.Tree(t)
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "initrdgen"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	program := initrdtest.Program([]byte("I am init"))
	initrdtest.WriteFile(t, filepath.Join(dir, "init"), program)
	out := filepath.Join(dir, "initrd.img")
	cmd := exec.Command(filepath.Join(dir, "initrdgen"), "build", "--root", root, "--output", out)
	cmd.Env = append(os.Environ(), "INITRDGEN_RUN=1")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, text)
	}
	listed, _, _ := initrdgen(t, "", nil, "list", out)
	if want := fmt.Sprintf("100755 %9d init\n", len(program)); !strings.Contains(listed, want) {
		t.Errorf("list = %s, want %s", listed, want)
	}
}

// Modules from elsewhere are named, and with --verbose the firmware that is missing.
func TestPrintReport(t *testing.T) {
	rep := &initrd.Report{
		Kernels:  []initrd.KernelReport{{Outside: []initrd.OutsideModule{{Name: "mlx5_core", Path: "updates/dkms/mlx5_core.ko.xz"}}}},
		Firmware: initrd.FirmwareReport{MissingFor: map[string][]string{"bnx2": {"bnx2/x.fw"}}},
	}
	for _, verbose := range []bool{false, true} {
		var out strings.Builder
		printReport(&out, rep, verbose)
		if want := "mlx5_core (updates/dkms/mlx5_core.ko.xz)"; !strings.Contains(out.String(), want) {
			t.Errorf("report = %s, want %q in it", out.String(), want)
		}
		if got := strings.Contains(out.String(), "bnx2: missing bnx2/x.fw"); got != verbose {
			t.Errorf("report = %s, want missing firmware: %v", out.String(), verbose)
		}
	}
}
