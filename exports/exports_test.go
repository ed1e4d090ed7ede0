package exports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRootDir has the forms of nfs.conf(5). DIR is the directory of its files.
func TestRootDir(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  string
		err   string
	}{
		"nothing":                   {nil, "", ""},
		"as Debian ships it":        {map[string]string{"nfs.conf": "[exports]\n# rootdir=/export\n#\n[exportfs]\n"}, "", ""},
		"set":                       {map[string]string{"nfs.conf": "#\n[general]\nrootdir=/no\n[exports]\nrootdir=/export\n[nfsd]\nrootdir=/no\n"}, "/export", ""},
		"blanks, capitals, comment": {map[string]string{"nfs.conf": "\n \t[ Exports ] x\n\t RootDir \t=  /a b ; comment\n"}, "/a b", ""},
		"quotes":                    {map[string]string{"nfs.conf": "[exports]\nrootdir = \"/a # b \" x\n"}, "/a # b ", ""},
		"single quotes":             {map[string]string{"nfs.conf": "[exports]\nrootdir = '/a;b'\n"}, "/a;b", ""},
		"quotes without an end":     {map[string]string{"nfs.conf": "[exports]\nrootdir = \"/a\n"}, "", ""},
		"a comment":                 {map[string]string{"nfs.conf": "[exports]\n;rootdir=/a\n  #rootdir=/b\n"}, "", ""},
		"continued":                 {map[string]string{"nfs.conf": "[exports]\nrootdir=\\\n/a\n# a comment \\\nrootdir=/b\n"}, "/a", ""},
		"a last line without end":   {map[string]string{"nfs.conf": "[exports]\nrootdir=/a\nrootdir=/b"}, "/a", ""},
		"the last one":              {map[string]string{"nfs.conf": "[exports]\nrootdir=/a\n[x]\n[exports]\nrootdir=/b\n"}, "/b", ""},
		"no section":                {map[string]string{"nfs.conf": "rootdir=/a\n[exports\nrootdir=/b\n"}, "", ""},
		"a section with argument":   {map[string]string{"nfs.conf": "[exports \"x\"]\nrootdir=/b\n"}, "", ""},
		"the directory":             {map[string]string{"nfs.conf": "[exports]\nrootdir=/a\n", "nfs.conf.d/9.conf": "[exports]\nrootdir=/b\n", "nfs.conf.d/10.conf": "[exports]\nrootdir=/c\n", "nfs.conf.d/x": "[exports]\nrootdir=/d\n"}, "/c", ""},
		"only the directory":        {map[string]string{"nfs.conf.d/local.conf": "[exports]\nrootdir=/b\n"}, "/b", ""},
		"/usr/etc":                  {map[string]string{"usr.conf": "[exports]\nrootdir=/a\n"}, "/a", ""},
		"/usr/etc is replaced":      {map[string]string{"usr.conf": "[exports]\nrootdir=/a\n", "usr.conf.d/a.conf": "[exports]\nrootdir=/b\n", "nfs.conf": "[nfsd]\n"}, "", ""},
		"/usr/etc and a directory":  {map[string]string{"usr.conf": "[exports]\nrootdir=/a\n", "nfs.conf.d/a.conf": "[nfsd]\nx=y\n"}, "/a", ""},
		"include":                   {map[string]string{"nfs.conf": "[exports]\ninclude = local\n", "local": "rootdir=/a\n[x]\nrootdir=/b\n"}, "/a", ""},
		"include by path":           {map[string]string{"nfs.conf": "[exports]\nrootdir=/z\ninclude=-DIR/more/local\n", "more/local": "rootdir=/a\n"}, "/a", ""},
		"the section stays":         {map[string]string{"nfs.conf": "[exports]\ninclude=local\nrootdir=/a\n", "local": "[x]\n"}, "/a", ""},
		"include of nothing":        {map[string]string{"nfs.conf": "[exports]\ninclude=-local\nrootdir=/a\n"}, "/a", ""},
		"a circle":                  {map[string]string{"nfs.conf": "[exports]\ninclude=nfs.conf\nrootdir=/a\n"}, "", "include each other"},
		"a variable":                {map[string]string{"nfs.conf": "[environment]\nWhere=/a\n[exports]\nrootdir=$where\n"}, "/a", ""},
		"a variable of mountd":      {map[string]string{"nfs.conf": "[exports]\nrootdir=$WHERE\n"}, "", "environment of mountd is not known"},
		"no absolute path":          {map[string]string{"nfs.conf": "[exports]\nrootdir=export\n"}, "", "no absolute path"},
		"empty":                     {map[string]string{"nfs.conf": "[exports]\nrootdir=\n"}, "", ""},
		"cannot be read":            {map[string]string{"nfs.conf/x": ""}, "", "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tt.files {
				write(t, filepath.Join(dir, file), strings.ReplaceAll(text, "DIR", dir))
			}
			got, err := rootDir([]string{filepath.Join(dir, "usr.conf"), filepath.Join(dir, "nfs.conf")})
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("rootDir = %q, %v, want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestRead reads a table with a rootdir, which is a link, and without.
func TestRead(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := Sources{Table: filepath.Join(dir, "etab"), Conf: []string{filepath.Join(dir, "nfs.conf")}}
	if got, err := Read(s); err != nil || len(got.Exports) > 0 || got.RootDir != "/" {
		t.Errorf("without files: %+v, %v", got, err)
	}
	write(t, s.Table, "/srv/a\\040b\t*(ro,no_root_squash) 10.0.0.1(rw)\n\ngarbage *\n/ *(ro)\n")
	want := Table{RootDir: "/", Exports: []Export{
		{Name: "/srv/a b", Path: "/srv/a b", Clients: []string{"*(ro,no_root_squash)", "10.0.0.1(rw)"}},
		{Name: "/", Path: "/", Clients: []string{"*(ro)"}},
	}}
	got, err := Read(s)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	write(t, filepath.Join(dir, "real/x"), "")
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	write(t, s.Conf[0], "[exports]\nrootdir="+dir+"/link\n")
	want.RootDir = dir + "/real"
	want.Exports[0].Path, want.Exports[1].Path = dir+"/real/srv/a b", dir+"/real"
	got, err = Read(s)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
}
