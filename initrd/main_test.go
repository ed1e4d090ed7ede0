package initrd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidusboot/sidusboot/initrd/initrdtest"
)

// otherProcess is the variable by which a test has an image built in another
// process, as another user or in another place: Options as JSON.
const otherProcess = "INITRD_TEST_OPTIONS"

func TestMain(m *testing.M) {
	text := os.Getenv(otherProcess)
	if text == "" {
		os.Exit(m.Run())
	}
	var opts Options
	if err := json.Unmarshal([]byte(text), &opts); err != nil {
		panic(err)
	}
	rep, err := Build(context.Background(), opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, w := range rep.Warnings {
		fmt.Fprintln(os.Stderr, w)
	}
}

// inProcess is the variable for a process that builds with these options.
func inProcess(t *testing.T, opts Options) string {
	t.Helper()
	text, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	return otherProcess + "=" + string(text)
}

// fakeOptions are good options for a tree.
func fakeOptions(t *testing.T, root string) Options {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "init")
	initrdtest.WriteFile(t, program, initrdtest.Program(nil))
	return Options{
		Root: root, Output: filepath.Join(dir, "initrd.img"), Profiles: []string{"generic"},
		Init: program, Compress: "zstd", Report: filepath.Join(dir, "report.json"), Builder: "test",
	}
}

// wantOption checks that an error is about an option, and what it says.
func wantOption(t *testing.T, err error, field string, invalid bool, text string) {
	t.Helper()
	option := (*OptionError)(nil)
	if !errors.As(err, &option) || option.Field != field || option.Invalid != invalid || !strings.Contains(err.Error(), text) {
		t.Errorf("error %v (%+v), want one about %s (invalid: %v) with %q", err, option, field, invalid, text)
	}
}
