package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/sidusboot/sidusboot/command"
)

// A secretsFormat writes accounts for one reader.
type secretsFormat struct {
	name  string
	write func(io.Writer, []account) error
}

// lioFormat is the format that has the names of initiators.
const lioFormat = "lio"

var secretsFormats = []secretsFormat{
	{"table", writeTable}, {"tgt", writeTgt}, {lioFormat, writeLIO}, {"image", writeImage},
}

func formatNames() []string {
	var names []string
	for _, f := range secretsFormats {
		names = append(names, f.name)
	}
	return names
}

func chooseFormat(name string) (secretsFormat, error) {
	for _, f := range secretsFormats {
		if f.name == name {
			return f, nil
		}
	}
	return secretsFormat{}, command.Usagef("unknown format %q: choose one of %s", name, strings.Join(formatNames(), ", "))
}

func writeTable(w io.Writer, accounts []account) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tTARGET\tUSER\tPASSWORD")
	for _, a := range accounts {
		node := a.match
		if node == "" {
			node = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", node, a.target, a.user, a.password)
	}
	return t.Flush()
}

// writeTgt writes targets.conf(5). tgt-admin cuts behind one blank.
func writeTgt(w io.Writer, accounts []account) error {
	users := map[string]string{}
	for _, a := range accounts {
		if other, ok := users[a.user]; ok {
			return fmt.Errorf("%s and %s have the same user, %s, and tgt has one password for each user: leave out --user, or put %%i into it", other, a.origin, a.user)
		}
		users[a.user] = a.origin
	}
	for _, a := range accounts {
		fmt.Fprintf(w, "<target %s>\n    incominguser %s %s\n</target>\n", a.target, a.user, a.password)
	}
	return nil
}

// writeLIO writes commands of targetcli. LIO looks for the credentials of an
// initiator that has an ACL there, and for those of all others in the target
// portal group (drivers/target/iscsi/iscsi_target_nego.c), where what these
// may do is read only unless demo_mode_write_protect is 0.
func writeLIO(w io.Writer, accounts []account) error {
	for _, a := range accounts {
		group := "/iscsi/" + a.target + "/tpg1"
		holder, attributes := group+"/acls/"+a.initiator, "authentication=1 generate_node_acls=0"
		if a.initiator == "" {
			holder, attributes = group, "authentication=1 generate_node_acls=1 cache_dynamic_acls=1 demo_mode_write_protect=0"
		}
		fmt.Fprintf(w, "%s set auth userid=%s password=%s\n%s set attribute %s\n", holder, a.user, a.password, group, attributes)
	}
	return nil
}

// writeImage writes what config.ParseSecrets reads.
func writeImage(w io.Writer, accounts []account) error {
	fmt.Fprintln(w, "# MATCH USER PASSWORD, for initrdgen build --secrets")
	for _, a := range accounts {
		if a.match == "" {
			return fmt.Errorf("%s: there is no MATCH after the target: write TARGET MATCH, with the node's address, MAC or initiator name", a.origin)
		}
		fmt.Fprintln(w, a.match, a.user, a.password)
	}
	return nil
}
