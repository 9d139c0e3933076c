// Publishes lines from a link with franz-go, in transactions of two seconds: what a Go programmer would write.
//
// It takes the first "Id" that it finds and checks nothing else, keeps no checkpoint, and starts from the first byte
// when it is started again.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	mostBuffered  = 200_000
	longestLine   = 1 << 20
	batchBytes    = 1_000_000
	commitEvery   = 2 * time.Second
	linesPerCheck = 1_000
)

type task struct {
	Servers     string            `json:"bootstrap_servers"`
	Topic       string            `json:"topic"`
	Link        string            `json:"link"`
	Compression string            `json:"compression"`
	Headers     map[string]string `json:"headers"`
	IDPrefix    string            `json:"id_prefix"`
}

type publisher struct {
	client *kgo.Client
	failed error
}

func main() {
	var work task
	if err := json.Unmarshal([]byte(os.Args[1]), &work); err != nil {
		log.Fatal(err)
	}
	if err := publish(context.Background(), work); err != nil {
		log.Fatal(err)
	}
}

func publish(ctx context.Context, work task) error {
	compression := kgo.NoCompression()
	if work.Compression == "zstd" {
		compression = kgo.ZstdCompression()
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(work.Servers),
		kgo.DefaultProduceTopic(work.Topic),
		kgo.TransactionalID("franz-"+work.Topic),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.ProducerLinger(20*time.Millisecond),
		kgo.MaxBufferedRecords(mostBuffered),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	answer, err := http.Get(work.Link)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(make([]byte, longestLine), longestLine)
	sink := &publisher{client: client}
	return sink.all(ctx, lines, work)
}

func (p *publisher) all(ctx context.Context, lines *bufio.Scanner, work task) error {
	if err := p.client.BeginTransaction(); err != nil {
		return err
	}
	began, offset, count := time.Now(), 0, 0
	var fixed []kgo.RecordHeader
	for name, value := range work.Headers {
		fixed = append(fixed, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	for lines.Scan() {
		value := bytes.Clone(lines.Bytes())
		record := &kgo.Record{Key: idOf(value), Value: value}
		if record.Key == nil {
			return errors.New("a line without an Id")
		}
		if len(fixed) > 0 {
			id := strconv.AppendInt([]byte(work.IDPrefix), int64(offset), 10)
			record.Headers = append([]kgo.RecordHeader{{Key: "ce_id", Value: id}}, fixed...)
		}
		offset += len(value) + 1
		p.client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				p.failed = err
			}
		})
		count++
		if count%linesPerCheck == 0 && time.Since(began) > commitEvery {
			if err := p.commit(ctx); err != nil {
				return err
			}
			if err := p.client.BeginTransaction(); err != nil {
				return err
			}
			began = time.Now()
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return p.commit(ctx)
}

// Flush has waited for all promises when it returns, so that failed is at rest.
func (p *publisher) commit(ctx context.Context) error {
	if err := p.client.Flush(ctx); err != nil {
		return err
	}
	if p.failed != nil {
		return p.failed
	}
	return p.client.EndTransaction(ctx, kgo.TryCommit)
}

func idOf(line []byte) []byte {
	_, rest, found := bytes.Cut(line, []byte(`"Id":"`))
	if !found {
		return nil
	}
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return id
}
