// Command login logs in to one LUN over the kernel, prints its block device,
// does what it is told on standard input, a word a line, and logs out at its
// end. It is for tests in a guest:
//
//	login --portal 10.77.0.1 --target iqn.2013-09.org.example:t --initiator iqn.2013-09.org.example:n --lun 1
//
// --adopt and --host take over a session instead. Words: "recover" logs in again, "watch" waits until the session needs it and
// says why, "hold" watches and recovers until the end, "state" tells the state.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

func run() error {
	var t iscsi.Target
	portals := flag.String("portal", "", "`HOST:PORT`s, with commas")
	flag.StringVar(&t.Name, "target", "", "target `name`")
	flag.StringVar(&t.Initiator, "initiator", "", "initiator `name`")
	flag.Uint64Var(&t.LUN, "lun", 0, "`number` of the LUN")
	flag.StringVar(&t.User, "user", "", "CHAP user")
	flag.StringVar((*string)(&t.Password), "password", "", "CHAP password")
	flag.StringVar(&t.UserIn, "user-in", "", "the target's CHAP user")
	flag.StringVar((*string)(&t.PasswordIn), "password-in", "", "the target's CHAP password")
	algorithms := flag.String("chap", "", "CHAP algorithms, `NUMBER`s with commas")
	adopt := flag.Int("adopt", 0, "take over session `N` of another process")
	host := flag.Int("host", 0, "SCSI host `N` of that session")
	digests := flag.Bool("digests", false, "insist on digests")
	flag.DurationVar(&t.Timeouts.Ping, "ping", 0, "ping after silence")
	flag.DurationVar(&t.Timeouts.PingReply, "ping-reply", 0, "wait for its answer")
	flag.Parse()
	for text := range strings.SplitSeq(*portals, ",") {
		portal, err := iscsi.ParsePortal(text)
		if err != nil {
			return err
		}
		t.Portals = append(t.Portals, portal)
	}
	if *digests {
		t.HeaderDigest, t.DataDigest = iscsi.DigestRequire, iscsi.DigestRequire
	}

	for _, c := range *algorithms {
		if c != ',' {
			t.CHAP = append(t.CHAP, iscsi.Algorithm(c-'0'))
		}
	}

	kernel, err := iscsi.Open("/")
	if err != nil {
		return err
	}
	defer kernel.Close()
	begin := time.Now()
	var session *iscsi.Session
	if *adopt > 0 {
		session, err = kernel.Adopt(t, iscsi.ID{Session: uint32(*adopt), Host: uint32(*host)})
	} else {
		session, err = kernel.Connect(context.Background(), t)
	}
	if err != nil {
		return err
	}
	fmt.Printf("session %d host %d in %v: %+v\n", session.ID().Session, session.ID().Host, time.Since(begin), session.Params())
	disk, err := find(session)
	if err != nil {
		return fmt.Errorf("%w; logout: %v", err, session.Logout(context.Background()))
	}
	fmt.Printf("disk %s %d\n", disk.Path, disk.Bytes)
	taken := false
	words := bufio.NewScanner(os.Stdin)
	for words.Scan() {
		if err := obey(session, words.Text()); err != nil {
			fmt.Println("error", err)
			taken = taken || errors.Is(err, iscsi.ErrTakenOver)
		} else {
			fmt.Println("done", words.Text())
		}
	}
	if taken {
		return nil
	}
	err = session.Logout(context.Background())
	fmt.Println("logout", err)
	return err
}

func find(s *iscsi.Session) (iscsi.Disk, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return s.Disk(ctx)
}

func obey(s *iscsi.Session, word string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	switch word {
	case "recover":
		return again(ctx, s)
	case "watch":
		return s.Watch(ctx)
	case "hold":
		for {
			err := s.Watch(ctx)
			fmt.Println("watch:", err)
			if ctx.Err() != nil || errors.Is(err, iscsi.ErrTakenOver) || errors.Is(err, iscsi.ErrGone) {
				return err
			}
			if err := again(ctx, s); err != nil {
				return err
			}
			fmt.Println("recovered")
		}
	case "state":
		state, err := s.State()
		fmt.Println("state", state)
		return err
	}
	return fmt.Errorf("unknown word %q", word)
}

// again recovers until it succeeds.
func again(ctx context.Context, s *iscsi.Session) error {
	for {
		err := s.Recover(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, iscsi.ErrTakenOver) {
			return err
		}
		fmt.Println("recover:", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
